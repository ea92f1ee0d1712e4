package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// Exit is how a container ended.
type Exit struct {
	Code        int    // 128+n where a signal ended it
	Signal      string // "killed", "segmentation fault"; "" where it exited
	OutOfMemory bool   // the kernel killed a process of it at its memory limit
	Told        bool   // its shim had been told to end it: the machine went down
	At          time.Time
}

// Container is one that was started, by this process or by an earlier one on the same directory.
type Container struct {
	ID      string
	Labels  map[string]string
	Started time.Time

	host    *Host
	dir     string
	init    shim.Init
	process *os.File    // pidfd of the first process; nil once it has ended
	space   *os.File    // its network namespace; nil for one that was adopted after its end
	address netip.Addr  // on its way out to the network; the zero value without one
	alive   *os.File    // the reading end of the shim's FIFO
	shim    *os.Process // nil where the shim is not our child

	done     chan struct{} // closed when it has ended
	released chan struct{} // closed when the Host is closed
	exit     Exit          // valid once done is closed
	once     sync.Once

	mu sync.Mutex
	// mu guards the following.
	listeners []net.Listener // of Listen
	ours      []int          // their ports
	ended     bool           // nothing listens any more
}

// record is kept on disk for each container. Its file is locked while a process of ours is responsible for the container:
// until a Start has returned, and for as long as a Run lasts.
type record struct {
	ID       string
	Labels   map[string]string
	Started  time.Time
	Attached bool // made by Run or Attach
	Early    bool // it outlives gitd from its first moment on
	Address  netip.Addr
}

const recordFile = "container.json"

// watch waits for the shim's end, and closes done.
func (c *Container) watch() {
	_, err := io.Copy(io.Discard, c.alive)
	if errors.Is(err, os.ErrClosed) { // released
		return
	}
	c.reap()
	var e shim.Exit
	if err := shim.ReadFile(filepath.Join(c.dir, shim.ExitFile), &e); err != nil {
		// The shim was killed, or the machine went down. The container has no supervisor any more: it must not keep running.
		c.host.cgroups.kill(c.ID)
		e = shim.Exit{Code: 128 + int(unix.SIGKILL), Signal: int(unix.SIGKILL), At: time.Now().UTC()}
		_ = shim.WriteFile(filepath.Join(c.dir, shim.ExitFile), e)
	}
	c.exit = Exit{Code: e.Code, OutOfMemory: e.OutOfMemory, Told: e.Told, At: e.At}
	if e.Signal != 0 {
		c.exit.Signal = unix.Signal(e.Signal).String()
	}
	c.closeListeners()
	close(c.done)
}

// reap waits for the shim, which is at its end. It is not waited for before: a thread for each container would be.
func (c *Container) reap() {
	if c.shim != nil {
		_, _ = c.shim.Wait()
	}
}

// Done is closed when the container has ended.
func (c *Container) Done() <-chan struct{} { return c.done }

// Exit returns how it ended; valid once Done is closed.
func (c *Container) Exit() Exit {
	select {
	case <-c.done:
		return c.exit
	default:
		return Exit{}
	}
}

// signal sends a signal to the first process. It cannot hit another one that got the same ID.
func (c *Container) signal(s unix.Signal) error {
	if c.process == nil {
		return os.ErrProcessDone
	}
	raw, err := c.process.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), s, nil, 0) }); e != nil {
		return e
	}
	return err
}

// signalGroup sends a signal to the first process and its group, as a terminal or a shell does.
func (c *Container) signalGroup(s unix.Signal) error {
	if err := c.signal(0); err != nil {
		return err
	}
	if unix.Kill(-c.init.PID, s) == nil { // the process was just there, and its ID is its group's while one of them runs
		return nil
	}
	return c.signal(s)
}

// Stop sends SIGTERM to the container's first process, and SIGKILL to everything in it after grace. It returns when it has ended.
func (c *Container) Stop(ctx context.Context, grace time.Duration) error {
	if grace > 0 && c.signal(unix.SIGTERM) == nil {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	return c.kill(ctx)
}

// kill ends everything in the container: its process namespace goes with its first process.
func (c *Container) kill(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	_ = c.signal(unix.SIGKILL)
	limit := time.NewTimer(2 * time.Second)
	defer limit.Stop()
	for range 2 {
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C: // the first process cannot be signalled, or its shim hangs
			c.host.cgroups.kill(c.ID)
			limit.Reset(8 * time.Second)
		}
	}
	return fmt.Errorf("sandbox: container %s does not end", c.ID)
}

// Remove kills what still runs and removes every trace but the log file.
func (c *Container) Remove(ctx context.Context) error {
	if err := c.kill(ctx); err != nil {
		return err
	}
	c.release()
	c.host.forget(c)
	return c.host.erase(c.ID)
}

// release closes what this process holds of the container.
func (c *Container) release() {
	c.once.Do(func() {
		close(c.released)
		c.closeListeners()
		for _, f := range []*os.File{c.alive, c.process, c.space} {
			if f != nil {
				_ = f.Close()
			}
		}
	})
}

// Listening returns the TCP ports that something in the container listens on, ascending.
func (c *Container) Listening() ([]int, error) {
	select {
	case <-c.done:
		return nil, nil
	default:
	}
	ports, err := listening(c.init.PID)
	return c.theirs(ports), err
}

// erase removes what is on disk and in the cgroups. Nothing runs any more.
func (h *Host) erase(id string) error {
	h.cgroups.remove(id)
	for _, base := range h.bases() {
		dir := filepath.Join(base, containersDir, id)
		_ = disk.RemoveAll(filepath.Join(base, runtimeDir, id))
		// First out of sight: a server that is killed here must not find half a container.
		gone := filepath.Join(base, containersDir, gonePrefix+id)
		if err := os.Rename(dir, gone); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
				return err
			}
			gone = dir // there is one already that could not be removed
		}
		if err := disk.RemoveAll(gone); err != nil {
			h.opts.Log("sandbox: what container %s wrote stays, and is tried again at the next start: %v", id, err)
		}
	}
	return nil
}

// Starts of names that no container has: of a directory that is being made or removed.
const (
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

func (h *Host) remember(c *Container) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.containers != nil {
		h.containers[c.ID] = c
	}
}

func (h *Host) forget(c *Container) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.containers[c.ID] == c {
		delete(h.containers, c.ID)
	}
}

// Containers returns every container on the Host that was started and not removed, running or ended: what a new process
// adopts after the old one was killed. What was left half made is cleaned up on the way.
func (h *Host) Containers(ctx context.Context) ([]*Container, error) {
	var found []*Container
	for _, base := range h.bases() {
		h.sweep(base, time.Minute)
		here, err := h.containersIn(base)
		if err != nil {
			return nil, err
		}
		found = append(found, here...)
	}
	return found, nil
}

// sweep removes directories of containers that were being made or removed so long ago; younger ones may be another call's.
func (h *Host) sweep(base string, age time.Duration) {
	entries, _ := os.ReadDir(filepath.Join(base, containersDir))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), gonePrefix) && !strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		if i, err := e.Info(); err == nil && time.Since(i.ModTime()) >= age {
			if err := disk.RemoveAll(filepath.Join(base, containersDir, e.Name())); err != nil {
				h.opts.Log("sandbox: %v", err)
			}
		}
	}
}

func (h *Host) containersIn(base string) (found []*Container, err error) {
	entries, err := os.ReadDir(filepath.Join(base, containersDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), gonePrefix) || strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		c, err := h.adopt(base, e.Name())
		if err != nil {
			return nil, err
		}
		if c != nil {
			found = append(found, c)
		}
	}
	return found, nil
}

// adopt returns a container by its ID, or nil if it is not one that was started and left to itself: then it is another call's,
// or the rest of one that a dead process of ours made, which is removed.
func (h *Host) adopt(base, id string) (*Container, error) {
	h.mu.Lock()
	c := h.containers[id]
	h.mu.Unlock()
	if c != nil {
		return c, nil
	}
	dir := filepath.Join(base, containersDir, id)
	f, err := os.Open(filepath.Join(dir, recordFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, h.erase(id)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, nil // another process or call is responsible
	}
	var r record
	broken := shim.ReadFile(f.Name(), &r) != nil
	c = &Container{ID: id, Labels: r.Labels, Started: r.Started, host: h, dir: dir, address: r.Address,
		done: make(chan struct{}), released: make(chan struct{})}
	if c.alive, err = os.OpenFile(filepath.Join(dir, shim.AliveFile), os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	started := c.hasStarted(r.Early && !r.Attached)
	if c.alive == nil || r.Attached || !started || broken || !c.begun() {
		// Its shim has noticed our end and kills it; where it did not, so do we.
		if c.alive != nil {
			_ = c.alive.SetReadDeadline(time.Now().Add(2 * time.Second))
			_, _ = io.Copy(io.Discard, c.alive)
		}
		h.cgroups.kill(id)
		if c.alive != nil {
			_ = c.alive.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, c.alive)
		}
		c.release()
		return nil, h.erase(id)
	}
	c.hold()
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.containers[id]; other != nil || h.closed {
		c.release()
		return other, nil
	}
	h.containers[id] = c
	go c.watch()
	return c, nil
}
