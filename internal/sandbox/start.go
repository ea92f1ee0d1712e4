package sandbox

import (
	"cmp"
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
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// Start starts a container under a shim of its own and returns when its process runs. The container outlives gitd.
func (h *Host) Start(ctx context.Context, s Spec) (*Container, error) {
	l, err := h.launch(ctx, &s, &files{}, false)
	if err != nil {
		return nil, err
	}
	h.remember(l.container)
	go l.container.watch()
	l.detach()
	return l.container, nil
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
	made      bool     // its directory exists
	control   *os.File // the shim kills the container at its end of file
	record    *os.File // locked
	resolv    string   // the container's /etc/resolv.conf
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

// launch prepares a container and starts it, in this order:
//
//  1. a network namespace and the users' mapping are acquired;
//  2. the container's directory is made, with its bundle, its FIFO and its record, locked (make);
//  3. the shim is started on it (spawn), which starts the runtime;
//  4. the shim reports the first process, or why there is none (awaitReport).
//
// On failure nothing is left (abandon).
func (h *Host) launch(ctx context.Context, s *Spec, f *files, attached bool) (_ *launched, err error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	h.cgroups.migration.begin()
	base, err := h.base(s)
	if err != nil {
		return nil, fmt.Errorf("sandbox: the disk is full, and so is the memory that replaces it: %w", err)
	}
	sp, err := h.network.acquire(s.Egress)
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
	l := &launched{container: c, resolv: sp.resolv}
	defer func() {
		if err != nil {
			err = h.abandon(ctx, l, err)
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
	l.made = true
	if s.Serve != nil {
		listener, err := c.Listen(s.Listen)
		if err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
		go s.Serve(listener)
	}
	if c.alive, err = os.OpenFile(filepath.Join(c.dir, shim.AliveFile), os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	if err := h.bringUp(ctx, l, s, f, attached); err != nil {
		return nil, err
	}
	h.cgroups.limitTCP(s.ID, s.Memory)
	c.hold()
	return l, nil
}

// bringUp starts the shim, and returns when the container's process runs.
func (h *Host) bringUp(ctx context.Context, l *launched, s *Spec, f *files, attached bool) error {
	c := l.container
	if f.console != nil {
		if err := f.console.listen(c.dir); err != nil {
			return fmt.Errorf("sandbox: make a terminal: %w", err)
		}
		defer f.console.close()
	}
	secrets, err := secretFile(s.Secrets)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	if secrets != nil {
		defer secrets.Close()
	}
	report, err := h.spawn(c, l, f, secrets, s.Background)
	if err != nil {
		return fmt.Errorf("sandbox: start the shim: %w", err)
	}
	if s.Early && !attached {
		_, _ = l.control.Write([]byte{shim.Detach})
		ctx = context.WithoutCancel(ctx) // it starts, or fails by itself
	}
	if c.init, err = awaitReport(ctx, s.ID, report); err != nil {
		return err
	}
	if f.console != nil {
		if err := f.console.receive(); err != nil {
			return fmt.Errorf("sandbox: the terminal: %w", err)
		}
	}
	return nil
}

// awaitReport reads the shim's report, and closes it: the container's first process, or why it did not start.
func awaitReport(ctx context.Context, id string, report *os.File) (shim.Init, error) {
	defer report.Close()
	stop := context.AfterFunc(ctx, func() { _ = report.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var r shim.Report
	if err := json.NewDecoder(report).Decode(&r); err != nil {
		return shim.Init{}, fmt.Errorf("sandbox: container %s did not start: %w", id, err)
	}
	if r.Error != "" {
		return shim.Init{}, startError(r.Error)
	}
	return r.Init, nil
}

// abandon removes what launch has made before it failed with err, and returns the error to report.
func (h *Host) abandon(ctx context.Context, l *launched, err error) error {
	c := l.container
	if l.control != nil {
		_ = l.control.Close() // the shim kills everything
	}
	if c.alive != nil && l.made {
		_ = c.alive.SetReadDeadline(time.Now().Add(time.Second))
		if _, e := io.Copy(io.Discard, c.alive); e != nil {
			h.cgroups.kill(c.ID)
			_ = c.alive.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, c.alive)
		}
	}
	go c.reap()
	c.release()
	if l.made {
		err = errors.Join(err, h.erase(c.ID))
	}
	if l.record != nil {
		_ = l.record.Close()
	}
	if e := context.Cause(ctx); e != nil {
		return e
	}
	return err
}

// startError separates what the app's author can fix from failures of the server.
func startError(message string) error {
	m := strings.TrimPrefix(message, "runc run failed: ")
	m = strings.TrimPrefix(m, "unable to start container process: ")
	if strings.HasPrefix(m, "exec: ") || strings.HasPrefix(m, "exec /") {
		return app.Errorf(app.CodeStartFailed, "look at the start command: the file must exist in the image and be executable", "the command could not be started: %s", m)
	}
	return errors.New("sandbox: " + message)
}

// spawn starts the shim in a session and a mount namespace of its own. It returns the reading end of its report.
func (h *Host) spawn(c *Container, l *launched, f *files, secrets *os.File, background bool) (report *os.File, err error) {
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
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		_ = report.Close()
		return nil, err
	}
	defer null.Close()
	inherited := []*os.File{theirs, cmp.Or(f.out, null), cmp.Or(f.err, null), told, alive, cmp.Or(f.in, null)}
	if last := cmp.Or(secrets, f.start); last != nil { // never both
		inherited = append(inherited, last)
	}
	var p *os.Process
	start := func() (err error) {
		p, err = os.StartProcess(h.shim, []string{"gitd-shim", c.dir}, &os.ProcAttr{
			Dir:   "/",
			Env:   []string{"GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=16MiB"},
			Files: inherited,
			Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS},
		})
		return err
	}
	switch { // the container inherits the thread's priority
	case f.start != nil:
		err = onThread(func() error { sinkPriority(); return start() })
	case background:
		err = onThread(func() error { lowerPriority(); return start() })
	default:
		err = start()
	}
	if err != nil {
		_ = report.Close()
		return nil, err
	}
	c.shim = p
	return report, nil
}
