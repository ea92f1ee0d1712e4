package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// A container's process has its app's user ID on the host, but the files of its image have the image's. Mounts of the layers that show
// the one for the other make up for it, with nothing written: the kernel wants a user namespace to read the numbers from.

// mapping is which owner of files appears as which.
type mapping struct{ uid, gid, owner uint32 }

// mappings keeps the namespaces of the mappings used last. A namespace holds no process, only numbers.
type mappings struct {
	program string // that waits, to be in a namespace until it is opened
	able    bool   // overlayfs takes such mounts (Linux 5.19)

	mu sync.Mutex // mu guards the following

	known map[mapping]*os.File
	used  []mapping // the least recent first
}

// keptMappings is how many namespaces are kept: to make one costs about as much as to start a process.
const keptMappings = 128

// space opens the user namespace of a mapping. The caller closes it.
func (m *mappings) space(k mapping) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.known[k]
	if f == nil {
		var err error
		if f, err = userSpace(m.program, k); err != nil {
			return nil, err
		}
		m.known[k] = f
	}
	if i := slices.Index(m.used, k); i >= 0 {
		m.used = slices.Delete(m.used, i, i+1)
	}
	if m.used = append(m.used, k); len(m.used) > keptMappings {
		_ = m.known[m.used[0]].Close()
		delete(m.known, m.used[0])
		m.used = m.used[1:]
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "users"), nil
}

// of names the file of the namespace that a container's layers are shown by, until done is called; "" if there is none.
func (m *mappings) of(s *Spec) (name string, done func(), err error) {
	if s.Owner == 0 || s.Owner == s.UID || !m.able {
		return "", func() {}, nil
	}
	f, err := m.space(mapping{s.UID, s.GID, s.Owner})
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), func() { _ = f.Close() }, nil
}

func (m *mappings) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.known {
		_ = f.Close()
	}
	m.known, m.used = map[mapping]*os.File{}, nil
}

// userSpace makes a user namespace.
func userSpace(program string, k mapping) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	gids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: math.MaxUint32}}
	if k.gid != 0 { // root's group stays: much belongs to it that is not the app's
		gids = swap(k.gid, k.owner)
	}
	p, err := os.StartProcess(program, []string{"gitd-shim", shim.Wait}, &os.ProcAttr{
		Dir: "/", Files: []*os.File{r},
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: swap(k.uid, k.owner), GidMappings: gids},
	})
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
	_ = p.Kill()
	go func() { _, _ = p.Wait() }()
	return f, err
}

// swap shows id as owner, and all others but owner as they are.
func swap(id, owner uint32) []syscall.SysProcIDMap {
	var m []syscall.SysProcIDMap
	next := uint32(0)
	for _, hole := range []uint32{min(id, owner), max(id, owner)} {
		if hole > next {
			m = append(m, syscall.SysProcIDMap{ContainerID: int(next), HostID: int(next), Size: int(hole - next)})
		}
		next = hole + 1
	}
	return append(m, syscall.SysProcIDMap{ContainerID: int(id), HostID: int(owner), Size: 1},
		syscall.SysProcIDMap{ContainerID: int(next), HostID: int(next), Size: int(math.MaxUint32 - next)})
}

// probe finds out whether overlayfs takes mapped layers here, by mounting one that is thrown away.
func (m *mappings) probe(dir string) error {
	k := mapping{1000, 1000, DefaultUIDs.First}
	space, err := m.space(k)
	if err != nil {
		return err
	}
	defer space.Close()
	if dir, err = os.MkdirTemp(dir, ".probe-"); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"layer", "mapped", "upper", "work", "root"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(at("layer/file"), nil, 0o600); err != nil {
		return err
	}
	if err := os.Chown(at("layer/file"), int(k.uid), int(k.gid)); err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := shim.MountMapped(at("layer"), at("mapped"), int(space.Fd())); err != nil {
			return err
		}
		if err := unix.Mount("overlay", at("root"), "overlay", 0, "lowerdir="+at("mapped")+",upperdir="+at("upper")+",workdir="+at("work")); err != nil {
			return os.NewSyscallError("mount overlay", err)
		}
		var st unix.Stat_t
		if err := unix.Stat(at("root/file"), &st); err != nil {
			return err
		}
		if st.Uid != k.owner || st.Gid != k.owner {
			return errors.New("the mapping has no effect")
		}
		return nil
	})
}

// mapsLayers says by its release whether the kernel can map layers, where that cannot be tried.
func mapsLayers() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return os.NewSyscallError("uname", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || major < 5 || major == 5 && minor < 19 {
		return fmt.Errorf("the kernel is %s", release)
	}
	return nil
}
