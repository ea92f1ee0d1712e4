package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// Start starts a container under a shim of its own and returns when its process runs. The container outlives gitd.
func (h *Host) Start(ctx context.Context, s Spec) (*Container, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	l, err := h.launch(ctx, &s, null, false)
	if err != nil {
		return nil, err
	}
	h.remember(l.container)
	go l.container.watch()
	l.detach()
	return l.container, nil
}

// Run runs a container to its end and removes it. When ctx ends, everything in the container is killed before Run returns,
// with ctx's cause as the error. The container does not outlive gitd.
func (h *Host) Run(ctx context.Context, s Spec) (Exit, error) {
	if s.Output == nil {
		s.Output = io.Discard
	}
	s.LogFile, s.Grace = "", 0
	r, w, err := pipe()
	if err != nil {
		return Exit{}, err
	}
	defer r.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		if _, err := io.Copy(s.Output, r); err != nil {
			_, _ = io.Copy(io.Discard, r) // a reader that went away must not stop the build
		}
	}()
	l, err := h.launch(ctx, &s, w, true)
	_ = w.Close()
	if err != nil {
		<-copied
		return Exit{}, err
	}
	c := l.container
	go c.watch()
	select {
	case <-c.done:
	case <-ctx.Done():
		_ = l.control.Close() // the shim kills everything
		_ = c.signal(unix.SIGKILL)
		err = context.Cause(ctx)
	}
	// The end is not ctx's matter: nothing may be left behind.
	if e := c.kill(context.Background()); e != nil {
		l.end()
		return Exit{}, errors.Join(err, e)
	}
	patience := 10 * time.Second
	if err != nil {
		patience = time.Second
	}
	select {
	case <-copied: // all of the output has arrived
	case <-time.After(patience): // nobody takes it
	}
	e := c.exit
	c.release()
	removed := h.erase(c.ID)
	l.end()
	if err != nil {
		return Exit{}, err
	}
	return e, removed
}

// pipe makes a pipe whose reading end is ours and whose writing end, which blocks, is a child's.
func pipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// launched is a container whose process runs.
type launched struct {
	container *Container
	control   *os.File // the shim kills the container at its end of file
	record    *os.File // locked
}

// detach lets the container outlive us.
func (l *launched) detach() {
	_, _ = l.control.Write([]byte{shim.Detach})
	l.end()
}

func (l *launched) end() {
	_ = l.control.Close()
	_ = l.record.Close()
}

// launch prepares a container and starts it. On failure nothing is left.
func (h *Host) launch(ctx context.Context, s *Spec, output *os.File, attached bool) (_ *launched, err error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	base, err := h.base(s)
	if err != nil {
		return nil, fmt.Errorf("sandbox: the disk is full, and there is no room in memory: %w", err)
	}
	sp, err := h.network.take(s.Egress)
	if err != nil {
		return nil, err
	}
	defer h.network.refill(s.Egress)
	users, closeUsers, err := h.users.of(s)
	if err != nil {
		_ = sp.file.Close()
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	defer closeUsers() // the shim has opened it by then
	c := &Container{ID: s.ID, Labels: s.Labels, Started: time.Now().UTC(), host: h, dir: filepath.Join(base, containersDir, s.ID),
		space: sp.file, address: sp.address, done: make(chan struct{}), released: make(chan struct{})}
	l := &launched{container: c}
	made := false
	defer func() {
		if err == nil {
			return
		}
		if l.control != nil {
			_ = l.control.Close()
		}
		if c.alive != nil && made {
			_ = c.alive.SetReadDeadline(time.Now().Add(time.Second))
			if _, e := io.Copy(io.Discard, c.alive); e != nil {
				h.cgroups.kill(s.ID)
				_ = c.alive.SetReadDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.Copy(io.Discard, c.alive)
			}
		}
		go c.reap()
		c.release()
		if made {
			err = errors.Join(err, h.erase(s.ID))
		}
		if l.record != nil {
			_ = l.record.Close()
		}
		if e := context.Cause(ctx); e != nil {
			err = e
		}
	}()
	if s.Background {
		if err := h.cgroups.makeBackground(); err != nil {
			return nil, fmt.Errorf("sandbox: make a control group: %w", err)
		}
	}
	if l.record, err = h.make(s, c, sp.resolv, users, attached); err != nil {
		return nil, err
	}
	made = true
	if c.alive, err = os.OpenFile(filepath.Join(c.dir, shim.AliveFile), os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	report, err := h.spawn(c, l, output, s.Background)
	if err != nil {
		return nil, fmt.Errorf("sandbox: start the shim: %w", err)
	}
	defer report.Close()
	stop := context.AfterFunc(ctx, func() { _ = report.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var r shim.Report
	if err := json.NewDecoder(report).Decode(&r); err != nil {
		return nil, fmt.Errorf("sandbox: container %s did not start: %w", s.ID, err)
	}
	if r.Error != "" {
		return nil, startError(r.Error)
	}
	c.init = r.Init
	h.cgroups.limitTCP(s.ID, s.Memory)
	c.hold()
	return l, nil
}

// startError tells what the app's author can mend from what is ours.
func startError(message string) error {
	m := strings.TrimPrefix(message, "runc run failed: ")
	m = strings.TrimPrefix(m, "unable to start container process: ")
	if strings.HasPrefix(m, "exec: ") || strings.HasPrefix(m, "exec /") {
		return app.Errorf(app.CodeStartFailed, "look at the start command: the file must exist in the image and be executable", "the command could not be started: %s", m)
	}
	return errors.New("sandbox: " + message)
}

// make writes the container's directory, and returns the record's file, locked. The directory appears whole or not at all.
func (h *Host) make(s *Spec, c *Container, resolv, users string, attached bool) (file *os.File, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.dir), newPrefix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = disk.RemoveAll(dir)
			if file != nil {
				_ = file.Close()
			}
		}
	}()
	for _, d := range []string{shim.RootDir, shim.WorkDir, shim.UpperDir, shim.UpperDir + "/etc"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil { // whatever the umask: these two are the container's / and /etc
			return nil, err
		}
	}
	hostname := s.Hostname
	if hostname == "" {
		hostname = s.ID
	}
	address := ""
	if c.address.IsValid() {
		address = c.address.String()
	}
	etc := accounts(s)
	etc["hosts"], etc["hostname"], etc["resolv.conf"] = hostsFile(hostname, address), hostname+"\n", resolv
	for name, content := range etc {
		name = filepath.Join(dir, shim.UpperDir, "etc", name)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return nil, err
		}
		if err := os.Chmod(name, 0o644); err != nil {
			return nil, err
		}
	}
	spec := *s
	spec.Hostname = hostname
	o, err := specification(&spec, h.cgroups.path(s.ID, s.Background), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.space.Fd()),
		filepath.Join(c.dir, shim.ProcessSpace), h.cgroups.swap())
	if err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(dir, shim.BundleFile), o); err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(dir, shim.ConfigFile), shim.Config{ID: s.ID, Runtime: h.runtime, RuntimeRoot: filepath.Join(filepath.Dir(filepath.Dir(c.dir)), runtimeDir),
		Layers: s.Layers, Users: users, UID: s.UID, GID: s.GID, Readable: s.Owner != 0 && users == "", Join: h.cgroups.join(), OutOfMemory: h.cgroups.outOfMemory(s.ID, s.Background), Log: s.LogFile, LogSize: s.LogSize, Grace: s.Grace}); err != nil {
		return nil, err
	}
	if err := unix.Mkfifo(filepath.Join(dir, shim.AliveFile), 0o600); err != nil {
		return nil, err
	}
	if file, err = os.OpenFile(filepath.Join(dir, recordFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return file, err
	}
	if err := json.NewEncoder(file).Encode(record{ID: s.ID, Labels: s.Labels, Started: c.Started, Attached: attached, Address: c.address}); err != nil {
		return file, err
	}
	if err := os.Rename(dir, c.dir); errors.Is(err, os.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return file, app.Errorf(app.CodeExists, "remove it first", "there is a container %s already", s.ID)
	} else if err != nil {
		return file, err
	}
	return file, nil
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

// spawn starts the shim in a session and a mount namespace of its own. It returns the reading end of its report.
func (h *Host) spawn(c *Container, l *launched, output *os.File, background bool) (report *os.File, err error) {
	// With the reading end open, the writing end opens at once; the shim has it before it starts, so that its end cannot be missed.
	alive, err := os.OpenFile(filepath.Join(c.dir, shim.AliveFile), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer alive.Close()
	report, told, err := pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	var control [2]int
	if err := unix.Pipe2(control[:], unix.O_CLOEXEC); err != nil {
		_ = report.Close()
		return nil, err
	}
	l.control = os.NewFile(uintptr(control[1]), "control")
	theirs := os.NewFile(uintptr(control[0]), "control")
	defer theirs.Close()
	var p *os.Process
	start := func() (err error) {
		p, err = os.StartProcess(h.shim, []string{"gitd-shim", c.dir}, &os.ProcAttr{
			Dir:   "/",
			Env:   []string{"GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=16MiB"},
			Files: []*os.File{theirs, output, output, told, alive},
			Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS},
		})
		return err
	}
	if background { // the container inherits the thread's priority
		err = onThread(func() error { lowerPriority(); return start() })
	} else {
		err = start()
	}
	if err != nil {
		_ = report.Close()
		return nil, err
	}
	c.shim = p
	return report, nil
}
