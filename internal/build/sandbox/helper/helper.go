// Package helper is gitd-helper: it runs what reads a build's files and writes the image, the lifecycle's analyzer, restorer and exporter.
//
// It is a process of its own that sees nothing but the builder image and the build's directories, has the build's user and no
// capability, the build's limits on memory and time, no network but the registry's port, and knows the credentials of one repository.
// The build's container shares none of its namespaces.
package helper

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/lifecycle/api"
	"github.com/buildpacks/lifecycle/buildpack"
	"github.com/buildpacks/lifecycle/image"
	"github.com/buildpacks/lifecycle/launch"
	"github.com/buildpacks/lifecycle/log"
	"github.com/buildpacks/lifecycle/phase"
	"github.com/buildpacks/lifecycle/platform"
	"github.com/buildpacks/lifecycle/platform/files"
	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
)

// Main does one build's share of the work, as package wire says, and returns the exit status.
func Main() int {
	h := &helper{commands: make(chan string), out: json.NewEncoder(os.Stdout)}
	in := bufio.NewReader(os.Stdin)
	if err := json.NewDecoder(strings.NewReader(readLine(in))).Decode(&h.job); err != nil {
		return 1
	}
	go func() { // the input ends when the parent ends, or needs the helper no more
		for {
			line := readLine(in)
			if line == "" {
				os.Exit(1)
			}
			h.commands <- line
		}
	}()
	if h.job.Rebase != nil {
		if err := h.rebase(); err != nil {
			h.say(wire.Reply{Failed: &wire.Failed{Phase: "rebase", Message: err.Error()}})
			return 1
		}
		return 0
	}
	for _, step := range []struct {
		phase string
		do    func() error
	}{
		{"confine", h.confine},
		{"analyze", h.analyze},
		{"restore", h.restore},
		{"check", func() error { return checkDescriptions(wire.Layers) }},
		{"export", h.export},
	} {
		if err := step.do(); err != nil {
			h.say(wire.Reply{Failed: &wire.Failed{Phase: step.phase, Message: err.Error()}})
			return 1
		}
	}
	return 0
}

func readLine(in *bufio.Reader) string {
	s, err := in.ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(s, "\n")
}

type helper struct {
	job      wire.Job
	commands chan string
	out      *json.Encoder
	api      *api.Version
	logger   log.Logger
	keychain authn.Keychain
	analyzed files.Analyzed
	ahead    func() ahead // waits for what is made ahead for the export
}

func (h *helper) say(r wire.Reply) { _ = h.out.Encode(r) }

func (h *helper) expect(command string) error {
	if got := <-h.commands; got != command {
		return fmt.Errorf("%q where %q was expected", got, command)
	}
	return nil
}

// confine leaves this process with the builder image as its root, the build's directories in it, and no rights. It runs in a
// mount namespace of its own, so nothing of it is left when the process ends, whatever ends it.
func (h *helper) confine() error {
	j := h.job
	at := func(name string) string { return filepath.Join(j.Root, name) }
	root := at("root")
	if err := unix.Mount("tmpfs", j.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64m"); err != nil {
		return fmt.Errorf("mount a writable layer: %w", err)
	}
	if err := mountOverlay(j.Lower, j.Root); err != nil {
		return fmt.Errorf("mount the builder image: %w", err)
	}
	build := filepath.Join(j.App, j.Build)
	for _, m := range []struct{ from, to string }{
		{filepath.Join(build, "layers"), wire.Layers},
		{filepath.Join(build, "workspace"), wire.Workspace},
		{filepath.Join(build, "artifacts"), "/tmp"},
		{j.App, wire.App},
	} {
		to := filepath.Join(root, m.to) // the builder image is data: its links must not lead out of it
		if info, err := os.Lstat(to); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory in the builder image", m.to)
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.to, err)
		}
	}
	if err := unix.Chroot(root); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	for resource, limit := range map[int]uint64{unix.RLIMIT_CORE: 1, unix.RLIMIT_FSIZE: uint64(j.FileSize)} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	if err := errors.Join(syscall.Setgroups([]int{j.Owner}), syscall.Setresgid(j.Owner, j.Owner, j.Owner), syscall.Setresuid(j.Owner, j.Owner, j.Owner)); err != nil {
		return fmt.Errorf("become the build's user: %w", err)
	}
	if os.Getuid() != j.Owner || os.Geteuid() != j.Owner {
		return errors.New("still root")
	}
	return os.Setenv("HOME", "/tmp")
}

// analyze reads the previous image and the run image.
func (h *helper) analyze() (err error) {
	if h.api, err = api.NewVersion(h.job.API); err != nil {
		return err
	}
	logger := log.NewDefaultLogger(io.Discard)
	if err := logger.SetLevel("error"); err != nil {
		return err
	}
	h.logger = logger
	h.keychain = keychain{h.job.Host, authn.FromConfig(authn.AuthConfig{Username: h.job.Repository, Password: h.job.Password})}
	inputs := platform.LifecycleInputs{
		PlatformAPI:    h.api,
		LayersDir:      wire.Layers,
		AppDir:         wire.Workspace,
		OutputImageRef: h.output(),
		RunImageRef:    h.runImage(),
	}
	if h.job.Previous != "" {
		inputs.PreviousImageRef = h.job.Host + "/" + h.job.Repository + "@" + h.job.Previous
	}
	factory := phase.NewConnectedFactory(h.api, nil, nil, files.NewHandler(), image.NewHandler(nil, h.keychain, "", false, nil), granted{})
	analyzer, err := factory.NewAnalyzer(inputs, h.logger)
	if err != nil {
		return err
	}
	if h.analyzed, err = analyzer.Analyze(); err != nil {
		return err
	}
	return files.Handler.WriteAnalyzed(filepath.Join(wire.Layers, "analyzed.toml"), &h.analyzed, h.logger)
}

func (h *helper) output() string { return h.job.Host + "/" + h.job.Repository + ":" + h.job.Tag }
func (h *helper) runImage() string {
	return h.job.Host + "/" + h.job.RunName + "@" + h.job.RunImage
}

// restore brings back the metadata of the layers of the previous image, and the layers that were kept. The lifecycle restores
// after detection; we do it before, for the buildpacks that made the previous image, which saves the build a second container.
// A buildpack that is not in the builder any more, or not detected now, gets nothing or ignores it.
func (h *helper) restore() error {
	var previous []buildpack.GroupElement
	for _, b := range h.analyzed.LayersMetadata.Buildpacks {
		if api, ok := buildpackAPI(b.ID, b.Version); ok {
			previous = append(previous, buildpack.GroupElement{ID: b.ID, Version: b.Version, API: api})
		}
	}
	if len(previous) > 0 {
		r := &phase.Restorer{LayersDir: wire.Layers, Logger: h.logger, Buildpacks: previous, PlatformAPI: h.api, LayersMetadata: h.analyzed.LayersMetadata}
		if err := r.Restore(nil); err != nil {
			return err
		}
	}
	if err := h.restoreKept(); err != nil {
		return err
	}
	h.say(wire.Reply{Ready: true})
	done := make(chan ahead, 1)
	h.ahead = func() ahead { return <-done }
	go func() { done <- h.exportAhead() }()
	return h.expect(wire.CommandExport)
}

// buildpackAPI returns the API version that a buildpack of the builder was written for.
func buildpackAPI(id, version string) (string, bool) {
	var d struct {
		API string `toml:"api"`
	}
	_, err := toml.DecodeFile(filepath.Join("/cnb/buildpacks", launch.EscapeID(id), version, "buildpack.toml"), &d)
	return d.API, err == nil && d.API != ""
}

// keychain has the credentials of one registry.
type keychain struct {
	host          string
	authenticator authn.Authenticator
}

// Resolve implements authn.Keychain.
func (k keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() == k.host {
		return k.authenticator, nil
	}
	return authn.Anonymous, nil
}

// granted leaves out the analyzer's probing of access rights, which costs requests: the credentials are ours.
type granted struct{}

func (granted) EnsureReadAccess(...string) error  { return nil }
func (granted) EnsureWriteAccess(...string) error { return nil }
