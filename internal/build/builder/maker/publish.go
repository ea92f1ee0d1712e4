package maker

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/buildpacks/imgutil"
	"github.com/buildpacks/lifecycle/api"
	pack "github.com/buildpacks/pack/builder"
	"github.com/buildpacks/pack/pkg/blob"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/dist"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/buildpacks/pack/pkg/logging"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/reexec"
	"github.com/gitd-io/gitd/internal/tail"
)

// The lifecycle that the parts are built from: go.mod has the same.
const lifecycleVersion = "0.21.0"

// blobStore lets the registry that pack publishes to work on the blobs of an OCI layout: what is there need not be sent.
type blobStore struct{ dir string }

func (s blobStore) file(h v1.Hash) string { return filepath.Join(s.dir, "blobs", h.Algorithm, h.Hex) }

const publishFunction = "builder-publish"

func init() { reexec.Register(publishFunction, published) }

// publication is what the process that runs pack is told.
type publication struct {
	Layout     string // has run and build image; gets the builder image
	Buildpacks string // a folder for each buildpack, named as catalog.EscapeID says
	Lifecycle  string // archive
	Arch       string
}

// createBuilder makes, in dir, an OCI layout with the run image and the builder image that pack makes of the build image, the
// buildpacks and the lifecycle. pack runs in a process of its own: it keeps temporary files where the environment says, and uses much memory.
func (m *maker) createBuilder(ctx context.Context, dir string, run, build v1.Image) error {
	p, err := cache.NewLayout(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(cache.AddImage(p, run, cache.RunName), cache.AddImage(p, build, buildName)); err != nil {
		return err
	}
	work, err := m.Temp("pack")
	if err != nil {
		return err
	}
	defer disk.RemoveAll(work)
	pub := publication{Layout: dir, Buildpacks: filepath.Join(work, "buildpacks"), Lifecycle: filepath.Join(work, "lifecycle.tar"), Arch: m.recipe.Arch}
	if err := errors.Join(writeBuildpacks(pub.Buildpacks), writeLifecycle(pub.Lifecycle, m.recipe.Lifecycle.Path, m.recipe.Launcher.Path)); err != nil {
		return err
	}
	description, err := json.Marshal(pub)
	if err != nil {
		return err
	}
	end := &tail.Tail{}
	cmd := reexec.Command(ctx, publishFunction)
	cmd.Stdin = strings.NewReader(string(description))
	cmd.Stdout, cmd.Stderr = end, end
	cmd.Env = append(cmd.Env, "TMPDIR="+work, "HOME="+work, "PACK_HOME="+work, "NO_PROXY=127.0.0.1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := runLocked(cmd); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &jobError{program: "pack", err: err, output: lastLines(end)}
	}
	return nil
}

const buildName = "gitd/build"

// writeBuildpacks writes the folders that pack makes the buildpacks' layers of. Their programs are links to the one that is in the build image.
func writeBuildpacks(dir string) error {
	for _, b := range catalog.All() {
		bin := filepath.Join(dir, catalog.EscapeID(b.ID), "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(bin), "buildpack.toml"), b.Descriptor, 0o644); err != nil {
			return err
		}
		for _, phase := range []string{"detect", "build"} {
			if err := os.Symlink(catalog.Program, filepath.Join(bin, phase)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lifecycleDescriptor is lifecycle.toml, as the lifecycle's own releases have it.
func lifecycleDescriptor() string {
	list := func(l api.List) string {
		var quoted []string
		for _, v := range l {
			quoted = append(quoted, `"`+v.String()+`"`)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprintf(`[apis]
[apis.buildpack]
deprecated = %s
supported = %s
[apis.platform]
deprecated = %s
supported = %s
[lifecycle]
version = "%s"
sbom-formats = ["application/vnd.cyclonedx+json", "application/spdx+json", "application/vnd.syft+json"]
`, list(api.Buildpack.Deprecated), list(api.Buildpack.Supported), list(api.Platform.Deprecated), list(api.Platform.Supported), lifecycleVersion)
}

// writeLifecycle writes the archive that pack takes the lifecycle from. Its phases are one program under many names.
func writeLifecycle(archive, lifecycle, launcher string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<18)
	w := newLayerWriter(buffered)
	err = errors.Join(w.bytes("lifecycle.toml", 0o644, []byte(lifecycleDescriptor())), w.program("lifecycle/lifecycle", lifecycle), w.program("lifecycle/launcher", launcher))
	for _, phase := range []string{"analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer"} {
		err = errors.Join(err, w.link("lifecycle/"+phase, "lifecycle"))
	}
	return errors.Join(err, w.Close(), buffered.Flush(), f.Close())
}

// published is the process that runs pack. pack can only publish to a registry: it gets one on a loopback port for that moment, whose
// repositories have a secret name.
func published([]string) int {
	var pub publication
	err := json.NewDecoder(os.Stdin).Decode(&pub)
	if err == nil {
		err = pub.publish(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (pub publication) publish(ctx context.Context) error {
	images, err := cache.NamedImages(pub.Layout)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secret := strings.ToLower(rand.Text())
	handler := registry.New(registry.WithBlobHandler(blobStore{pub.Layout}), registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" && !strings.HasPrefix(r.URL.Path, "/v2/"+secret+"/") {
			http.NotFound(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	prefix := listener.Addr().String() + "/" + secret + "/"
	for _, n := range []string{cache.RunName, buildName} {
		ref, err := name.ParseReference(prefix + n)
		if err != nil {
			return err
		}
		if err := remote.Write(ref, images[n], remote.WithContext(ctx)); err != nil {
			return fmt.Errorf("write %s: %w", n, err)
		}
	}
	if err := pub.create(ctx, prefix); err != nil {
		return err
	}
	return pub.keep(ctx, prefix)
}

// create has pack put the builder together from the images below prefix, and push it there.
func (pub publication) create(ctx context.Context, prefix string) error {
	var silent logging.Logger = logging.NewSimpleLogger(io.Discard)
	fetcher := image.NewFetcher(silent, nil)
	c, err := client.NewClient(client.WithLogger(logging.NewSimpleLogger(os.Stderr)), client.WithDockerClient(noDocker{}), client.WithIndexFactory(noIndex{}),
		client.WithFetcher(loopbackFetcher{fetcher, prefix}), client.WithDownloader(blob.NewDownloader(silent, filepath.Join(os.TempDir(), "downloads"))))
	if err != nil {
		return err
	}
	return c.CreateBuilder(ctx, client.CreateBuilderOptions{
		BuilderName: prefix + cache.BuilderName,
		Publish:     true,
		PullPolicy:  image.PullAlways,
		Targets:     []dist.Target{{OS: "linux", Arch: pub.Arch}},
		Config: pack.Config{
			Description: "Go, Node.js, Python and static sites on " + recipe.DebianName,
			Buildpacks:  pub.modules(),
			Order:       order(),
			Lifecycle:   pack.LifecycleConfig{URI: pub.Lifecycle},
			Run:         pack.RunConfig{Images: []pack.RunImageConfig{{Image: cache.RunName}}},
			Build:       pack.BuildConfig{Image: buildName},
		},
	})
}

// modules are our buildpacks, as pack wants them.
func (pub publication) modules() (modules pack.ModuleCollection) {
	for _, b := range catalog.All() {
		modules = append(modules, pack.ModuleConfig{
			ModuleInfo: dist.ModuleInfo{ID: b.ID, Version: b.Version},
			ImageOrURI: dist.ImageOrURI{BuildpackURI: dist.BuildpackURI{URI: filepath.Join(pub.Buildpacks, catalog.EscapeID(b.ID))}},
		})
	}
	return modules
}

// order is the order of detection, as pack wants it.
func order() (order dist.Order) {
	for _, group := range catalog.Order() {
		var refs []dist.ModuleRef
		for _, e := range group {
			refs = append(refs, dist.ModuleRef{ModuleInfo: dist.ModuleInfo{ID: e.ID, Version: e.Version}, Optional: e.Optional})
		}
		order = append(order, dist.OrderEntry{Group: refs})
	}
	return order
}

// keep puts the builder that pack pushed into the layout, in the place of the build image.
func (pub publication) keep(ctx context.Context, prefix string) error {
	ref, err := name.ParseReference(prefix + cache.BuilderName)
	if err != nil {
		return err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return err
	}
	p, err := layout.FromPath(pub.Layout)
	if err != nil {
		return err
	}
	if err := p.RemoveDescriptors(func(d v1.Descriptor) bool { return d.Annotations[cache.RefName] == buildName }); err != nil {
		return err
	}
	return p.AppendImage(img, layout.WithAnnotations(map[string]string{cache.RefName: cache.BuilderName}))
}

// loopbackFetcher finds our images in the registry of this moment by the names that the builder image is to remember.
type loopbackFetcher struct {
	client.ImageFetcher
	prefix string
}

func (f loopbackFetcher) Fetch(ctx context.Context, n string, o image.FetchOptions) (imgutil.Image, error) {
	return f.ImageFetcher.Fetch(ctx, f.prefix+strings.TrimPrefix(n, f.prefix), o)
}

// noDocker and noIndex stand for what pack does not need here, and would look for on the machine.
type (
	noDocker struct{ client.DockerClient }
	noIndex  struct{ client.IndexFactory }
)

func (s blobStore) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	info, err := os.Stat(s.file(h))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, registry.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s blobStore) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(s.file(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, registry.ErrNotFound
	}
	return f, err
}

// Put takes a blob whose digest the registry checks while it is read.
func (s blobStore) Put(_ context.Context, _ string, h v1.Hash, r io.ReadCloser) error {
	defer r.Close()
	f, err := os.CreateTemp(filepath.Join(s.dir, "blobs"), "upload-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.file(h))
}
