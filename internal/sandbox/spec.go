package sandbox

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// Mount is a bind mount from the host.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Spec is one container. It runs without capabilities, with no-new-privileges, the default seccomp profile, a private
// network namespace, masked /proc paths, and a read-only root unless Writable or Scratch.
type Spec struct {
	ID       string            // unique on the Host; [a-z0-9-]
	Labels   map[string]string // kept on disk, given back by Containers
	Layers   []string          // unpacked layer directories, bottom first
	Writable bool              // what it writes to its root is on the disk, without a bound, and removed with the container
	Scratch  int64             // bytes that it may write to its root, in memory, of which they count: for each 4 KiB one file
	Args     []string
	Env      []string
	Secrets  map[string][]byte // variables more, in place of those of Env; they are never on a disk, and the caller may clear them when the container runs
	Dir      string            // working directory
	UID, GID uint32            // of the image's user
	Owner    uint32            // user and group ID on the host that stand for UID and, where it is not root's, GID; 0 for these themselves
	Hostname string
	Mounts   []Mount
	Memory   int64   // bytes, swap included; 0 for no limit
	CPU      float64 // cores; 0 for no limit
	PIDs     int64   // 0 for 1024
	FileSize int64   // RLIMIT_FSIZE; 0 for no limit
	TmpSize  int64   // bytes of the tmpfs on /tmp, and of that on /dev/shm; 0 for Memory, in which both count
	Egress   bool    // a way out to the network, masqueraded; never to this host's own addresses nor to other containers
	// Serve serves a listener on the port Listen of the container's own loopback, which is there before its process; nil for none.
	Serve   func(net.Listener)
	Listen  int
	LogFile string    // where Start keeps stdout and stderr, see package output; "" to discard
	LogSize int64     // bytes of it on the disk; 0 for 32 MiB
	Output  io.Writer // stdout and stderr of a container started by Run; nil to discard
	// Terminal is that of a container started by Attach; nil for none.
	Terminal *Terminal
	// Background gives the container a low priority on the processor and the disk.
	Background bool
	// Early has a container started by Start outlive gitd from its first moment on: what has begun to start is not taken back.
	Early bool
	// Grace is the time from SIGTERM to SIGKILL of a container started by Start, where the machine goes down. Stop has its own.
	Grace time.Duration

	prepared bool // it waits for Prepared.Start
}

// withoutLimit is the size of /tmp in a container that has no limit on memory.
const withoutLimit = 1 << 30

var validID = pattern.New(`^[a-z0-9][a-z0-9-]{0,126}$`)

func (s *Spec) validate() error {
	switch {
	case !validID.MatchString(s.ID):
		return app.Errorf(app.CodeInvalidInput, "use a-z, 0-9 and -", "%q cannot be a container's ID", s.ID)
	case len(s.Args) == 0:
		return app.Errorf(app.CodeInvalidInput, "name the program that it runs", "container %s has no command", s.ID)
	case len(s.Layers) == 0:
		return app.Errorf(app.CodeInvalidInput, "name the layers of its image", "container %s has no layers", s.ID)
	}
	for name, value := range s.Secrets {
		if name == "" || strings.ContainsAny(name, "=\x00") || bytes.IndexByte(value, 0) >= 0 {
			return app.Errorf(app.CodeInvalidInput, "leave it out", "a variable of container %s has a name or a value that no environment can hold", s.ID)
		}
	}
	for _, a := range s.Args {
		if strings.ContainsRune(a, 0) {
			return app.Errorf(app.CodeInvalidInput, "leave it out", "an argument of container %s has a NUL", s.ID)
		}
	}
	return nil
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// specification returns the OCI runtime specification of s, version 1.0.2. Its paths are relative to the container's directory.
// Its namespaces are paths to existing ones.
func specification(s *Spec, cgroupsPath, network, processes string, swap bool) (*specs.Spec, error) {
	filter, err := systemCalls()
	if err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version:  "1.0.2",
		Root:     &specs.Root{Path: "rootfs", Readonly: !s.Writable && s.Scratch <= 0},
		Process:  s.process(),
		Hostname: s.Hostname,
		Mounts:   s.mounts(),
		Linux: &specs.Linux{
			CgroupsPath: cgroupsPath,
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: processes}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace}, {Type: specs.NetworkNamespace, Path: network}},
			Resources: s.resources(swap),
			Seccomp:   filter,
			MaskedPaths: []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}, nil
}

// process is the container's first process: its command, user and limits.
func (s *Spec) process() *specs.Process {
	env := s.Env
	if !HasVariable(env, "PATH") {
		env = append([]string{"PATH=" + defaultPath}, env...)
	}
	files := openFiles()
	// No core of a process that has an app's configuration: 1, since 0 does not count for a program of the machine that takes cores.
	limits := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: files, Soft: files}, {Type: "RLIMIT_CORE", Hard: 1, Soft: 1}}
	if s.FileSize > 0 {
		limits = append(limits, specs.POSIXRlimit{Type: "RLIMIT_FSIZE", Hard: uint64(s.FileSize), Soft: uint64(s.FileSize)})
	}
	args := s.Args
	if s.prepared { // the app's command and environment come later; these are those of the program that waits for them
		args, env = []string{shim.Self}, []string{"PATH=" + defaultPath, "GOMAXPROCS=1", "GOGC=off"}
	}
	adjust := 300 // when the machine itself runs out of memory, the kernel kills apps before gitd
	var size *specs.Box
	if t := s.Terminal; t != nil && t.Size != (Size{}) {
		size = &specs.Box{Height: uint(t.Size.Rows), Width: uint(t.Size.Columns)}
	}
	return &specs.Process{
		Terminal: s.Terminal != nil, ConsoleSize: size,
		Args: args, Env: env, Cwd: cmp.Or(s.Dir, "/"),
		User:            s.user(),
		Capabilities:    &specs.LinuxCapabilities{},
		NoNewPrivileges: true,
		Rlimits:         limits,
		OOMScoreAdj:     &adjust,
	}
}

// mounts are the file systems of every container, and the bind mounts of s.
func (s *Spec) mounts() []specs.Mount {
	tmp := fmt.Sprintf("size=%d", cmp.Or(s.TmpSize, s.Memory, withoutLimit))
	all := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "max=256"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", tmp}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777", tmp}},
	}
	for _, m := range s.Mounts {
		options := []string{"bind", "nosuid", "nodev"} // not rbind: mounts below the source must not be visible in the container
		if m.ReadOnly {
			options = append(options, "ro")
		}
		all = append(all, specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options})
	}
	return all
}

// resources are the limits of the container's control group; swap says whether the kernel counts swap.
func (s *Spec) resources(swap bool) *specs.LinuxResources {
	pids := s.PIDs
	if pids <= 0 {
		pids = 1024
	}
	r := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		Pids:    &specs.LinuxPids{Limit: &pids},
	}
	if s.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &s.Memory}
		if swap {
			r.Memory.Swap = &s.Memory
		}
	}
	if s.CPU > 0 {
		period := uint64(100_000)
		quota := max(int64(s.CPU*float64(period)), 1000) // the kernel's minimum
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return r
}

// user is the user and group of the container's process on the host.
func (s *Spec) user() specs.User {
	u := specs.User{UID: s.UID, GID: s.GID}
	if s.Owner != 0 {
		u.UID = s.Owner
		if s.GID != 0 {
			u.GID = s.Owner
		}
	}
	return u
}

// HasVariable tells whether an environment sets a variable.
func HasVariable(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}

// openFiles never asks for more than this process may give: without CAP_SYS_RESOURCE the runtime would fail.
func openFiles() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return min(l.Max, 65536)
}

// systemCalls is the default profile of a process without capabilities, for this machine's own system call table only: the
// foreign ones (32-bit on 64-bit) are a second way into the kernel, and compiling their rules takes a third of a container's start.
var systemCalls = sync.OnceValues(func() (*specs.LinuxSeccomp, error) {
	p, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	native := map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64, "riscv64": specs.ArchRISCV64, "s390x": specs.ArchS390X,
		"ppc64le": specs.ArchPPC64LE, "loong64": specs.ArchLOONGARCH64}
	if a, ok := native[runtime.GOARCH]; ok {
		p.Architectures = []specs.Arch{a}
	}
	return p, nil
})

// hostsFile is the container's /etc/hosts.
func hostsFile(hostname, address string) string {
	f := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if address == "" {
		address = "127.0.0.1"
	}
	if hostname != "" {
		f += address + "\t" + hostname + "\n"
	}
	return f
}
