package maker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/reexec"
	"github.com/gitd-io/gitd/internal/tail"
	"golang.org/x/sys/unix"
)

// job is a program to run in mount and process namespaces of its own: its mounts and everything it starts vanish with it, and
// it does not outlive us. The network is the host's: it downloads packages.
type job struct {
	Layers []string // unpacked layers to run in, bottom first; none: it sees the host's files
	Upper  string   // takes what is written; beside it a folder of the same file system is used and removed
	Binds  []bind
	Files  map[string]string // small files below /run in it
	Args   []string
	Env    []string
	Dir    string

	Output io.Writer `json:"-"` // standard output and error
}

type bind struct{ Source, Target string }

const confineFunction = "builder-confine"

func init() { reexec.Register(confineFunction, confined) }

// run runs the job to its end. When ctx ends everything of it is killed before run returns.
func (j *job) run(ctx context.Context) error {
	description, err := json.Marshal(j)
	if err != nil {
		return err
	}
	end := &tail.Tail{}
	var out io.Writer = end
	if j.Output != nil {
		out = io.MultiWriter(end, j.Output)
	}
	cmd := reexec.Command(ctx, confineFunction)
	cmd.Stdin = bytes.NewReader(description)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := runLocked(cmd); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &jobError{program: filepath.Base(j.Args[0]), err: err, output: lastLines(end)}
	}
	return nil
}

// runLocked runs cmd from one thread: the kernel sends the parent-death signal when the thread that started it ends.
func runLocked(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	return <-done
}

// jobError is a program that failed, with the end of what it said.
type jobError struct {
	program string
	err     error
	output  string
}

func (e *jobError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.program, e.err, lastLine(e.output))
}
func (e *jobError) Unwrap() error { return e.err }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// words makes an error for people of a failed job: what says what was being done.
func (m *maker) words(err error, what string) error {
	var j *jobError
	if !errors.As(err, &j) {
		return cache.DiskFull(m.Dir, err)
	}
	out := j.output
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(out, p) {
				return true
			}
		}
		return false
	}
	m.Log.Error("%s failed. The end of its output:", j.program)
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		m.Log.Detail("%s", line)
	}
	switch {
	case has("No module named pip", `"python3": executable file not found`):
		return app.Errorf(app.CodeInvalidInput, "name a base image that has python3 and python3-pip", "%s failed: the base image has no pip", what)
	case has("No space left on device", "Disk quota exceeded"):
		return app.Errorf(app.CodeUnavailable, "free some space, or set XDG_CACHE_HOME to a folder on a larger disk", "%s failed: the disk of %s is full", what, m.Dir)
	case has("Temporary failure resolving", "Could not resolve", "Name or service not known", "Failed to establish a new connection",
		"Could not connect", "Unable to connect", "Connection timed out", "Network is unreachable", "Temporary failure in name resolution"):
		return app.Errorf(app.CodeUnavailable, "check the network, the proxy variables (https_proxy) and the package sources of this machine, then try again",
			"%s failed: the packages cannot be downloaded", what)
	case has("CERTIFICATE_VERIFY_FAILED", "certificate verification failed", "Certificate verification failed"):
		return app.Errorf(app.CodeUnavailable, "name the bundle that has your network's certificate authority in SSL_CERT_FILE",
			"%s failed: the certificate of the package server is not trusted", what)
	case has("NO_PUBKEY", "gpgv", "keyring"):
		return app.Errorf(app.CodeUnavailable, "run apt-get install debian-archive-keyring; it must be the one of Debian 12 or newer", "%s failed: the packages' signatures cannot be checked", what)
	}
	return app.Errorf(app.CodeUnavailable, "the lines above say why; try again with gitd builder create", "%s failed: %s", what, lastLine(out))
}

// lastLines is the end of what a job printed.
func lastLines(output *tail.Tail) string {
	lines := strings.Split(strings.TrimSpace(output.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// confined is the first process of the namespaces: it mounts what the job wants, runs its program and ends with its status.
func confined([]string) int {
	fail := func(what string, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		return 125
	}
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return fail("job", err)
	}
	// Nothing that is mounted here must reach the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail("make mounts private", err)
	}
	if len(j.Layers) == 0 {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fail("mount /proc", err)
		}
	} else if err := j.enter(); err != nil {
		return fail("prepare the root file system", err)
	}
	for _, e := range j.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			os.Setenv("PATH", path) // where the program is looked up
		}
	}
	cmd := exec.Command(j.Args[0], j.Args[1:]...)
	if cmd.Err != nil {
		return fail("start", cmd.Err)
	}
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = j.Env, j.Dir, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	case err != nil:
		return fail("run", err)
	}
	return 0
}

// enter makes the layers the root directory.
func (j *job) enter() error {
	root, work := j.Upper+".root", j.Upper+".work"
	for _, d := range []string{root, work, j.Upper} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := mountOverlay(root, j.Layers, j.Upper, work); err != nil {
		return err
	}
	// Below an image's directory may be anything: a link there must not lead out to the host.
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	type mount struct {
		kind, target, options string
		flags                 uintptr
	}
	for _, m := range []mount{
		{"proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "dev", "mode=755", unix.MS_NOSUID},
		{"tmpfs", "run", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := inside(r, m.target, true, func(p string) error { return unix.Mount(m.kind, p, m.kind, m.flags, m.options) }); err != nil {
			return fmt.Errorf("mount /%s: %w", m.target, err)
		}
	}
	if err := makeDevices(root); err != nil {
		return err
	}
	for name, content := range j.Files {
		p := filepath.Join(root, "run", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, b := range j.Binds {
		info, err := os.Stat(b.Source)
		if err != nil {
			return err
		}
		target := strings.TrimPrefix(b.Target, "/")
		if err := inside(r, target, info.IsDir(), func(p string) error { return unix.Mount(b.Source, p, "", unix.MS_BIND, "") }); err != nil {
			return fmt.Errorf("bind %s: %w", b.Target, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // stacks the old root on the new one, and takes it off
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}

// makeDevices fills /dev with what every program expects.
func makeDevices(root string) error {
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		p := filepath.Join(root, "dev", name)
		if err := unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return err
		}
		if err := os.Chmod(p, 0o666); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(root, "dev/shm"), 0o1777)
}

// inside calls do with a path that stands for the name below the root, wherever links may point. What is missing is made.
func inside(r *os.Root, name string, dir bool, do func(path string) error) error {
	var f *os.File
	var err error
	if dir {
		if err = r.MkdirAll(name, 0o755); err != nil {
			return err
		}
		f, err = r.Open(name)
	} else {
		if err = r.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if f, err = r.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o644); err != nil { // a link that leads out: to nowhere in an image
			_ = r.Remove(name)
			f, err = r.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o644)
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

func mountOverlay(target string, lower []string, upper, work string) error {
	// The kernel takes one page of options: links with short names stand for the layers. It refuses a layer that is there twice,
	// as the empty one often is in images: only the upper one has an effect.
	links := upper + ".lower"
	if err := os.MkdirAll(links, 0o700); err != nil {
		return err
	}
	var dirs []string
	for i, dir := range slices.Backward(lower) {
		if slices.Contains(lower[i+1:], dir) {
			continue
		}
		if err := os.Symlink(dir, filepath.Join(links, strconv.Itoa(i))); err != nil {
			return err
		}
		dirs = append(dirs, strconv.Itoa(i))
	}
	if err := os.Chdir(links); err != nil {
		return err
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)
	options := "lowerdir=" + strings.Join(dirs, ":") + ",upperdir=" + escape.Replace(upper) + ",workdir=" + escape.Replace(work)
	if len(options) >= os.Getpagesize() {
		return errors.New("the image has too many layers")
	}
	// volatile: this is not needed after a crash, so that dpkg's many fsyncs cost nothing.
	if err := unix.Mount("overlay", target, "overlay", 0, options+",volatile"); err == nil {
		return nil
	}
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return nil
}
