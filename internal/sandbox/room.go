package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/netns"
)

// Room is where a process of gitd's own reads what strangers wrote: a control group with limits, and a network namespace that has nothing but
// a loopback. What goes wrong there takes neither gitd's memory nor its time.
type Room struct {
	host  *Host
	id    string
	space *space
}

// RoomLimits bound what all processes of a Room use together.
type RoomLimits struct {
	Memory int64   // bytes, swap included
	CPU    float64 // cores; 0 for no limit
	PIDs   int64   // processes and threads
}

// Room makes one. Its id is unique on the Host, containers included; [a-z0-9-].
func (h *Host) Room(id string, l RoomLimits) (*Room, error) {
	if !validID.MatchString(id) {
		return nil, app.Errorf(app.CodeInvalidInput, "use a-z, 0-9 and -", "%q cannot be the ID of a room", id)
	}
	r := &Room{host: h, id: id}
	if err := h.cgroups.make(id, l); err != nil {
		h.cgroups.remove(id)
		return nil, fmt.Errorf("sandbox: make a control group: %w", err)
	}
	var err error
	if r.space, err = h.network.acquire(false); err != nil {
		h.cgroups.remove(id)
		return nil, err
	}
	h.network.refill(false)
	return r, nil
}

// removeRooms ends the Rooms of a process that was killed, and removes their groups. Builds' containers are in the same group as they are, and stay.
func (h *Host) removeRooms() {
	for _, root := range h.cgroups.roots {
		groups, _ := os.ReadDir(filepath.Join(root, h.cgroups.background())) // none: nothing was built since the machine started
		for _, g := range groups {
			if !g.IsDir() || !validID.MatchString(g.Name()) {
				continue
			}
			if _, err := os.Lstat(filepath.Join(h.opts.Dir, containersDir, g.Name())); errors.Is(err, fs.ErrNotExist) {
				h.cgroups.kill(g.Name())
				h.cgroups.remove(g.Name())
			}
		}
	}
}

// Start starts a command in the Room. It can never gain rights, as by a set-user-ID program. Until it is in the control group it must do nothing
// that costs; it is when Start returns.
func (r *Room) Start(c *exec.Cmd) error {
	err := onThread(func() error { // all of this belongs to a thread, and a child inherits it
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl", err)
		}
		if err := unix.Setns(int(r.space.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		lowerPriority()
		return c.Start()
	})
	if err != nil {
		return err
	}
	if err := r.host.cgroups.enter(r.id, c.Process.Pid); err != nil {
		_ = c.Process.Kill()
		return errors.Join(fmt.Errorf("sandbox: enter a control group: %w", err), c.Wait())
	}
	return nil
}

// Listen listens on a TCP port of the Room's own loopback, 127.0.0.1, for gitd to answer.
func (r *Room) Listen(port int) (net.Listener, error) {
	fd, err := netns.Socket(r.space.file, unix.AF_INET)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "tcp") // net.FileListener has a descriptor of its own
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return net.FileListener(f)
}

// OutOfMemory says whether the kernel killed a process of the Room at its memory limit.
func (r *Room) OutOfMemory() bool {
	for _, f := range r.host.cgroups.outOfMemory(r.id, true) {
		b, _ := os.ReadFile(f)
		for l := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(strings.TrimSpace(l), "oom_kill "); ok && n != "0" {
				return true
			}
		}
	}
	return false
}

// Close kills what is left in the Room and removes it.
func (r *Room) Close() error {
	r.host.cgroups.kill(r.id)
	r.host.cgroups.remove(r.id)
	return r.space.file.Close()
}

// Priorities for the disk, ioprio_set(2).
const (
	ioprioWhoProcess = 1
	ioprioBestEffort = 2 << 13
	ioprioLowest     = 7
)

// lowerPriority gives the thread, and what it starts, a low priority on the disk, where the kernel's I/O scheduler has priorities.
func lowerPriority() {
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioBestEffort|ioprioLowest)
}
