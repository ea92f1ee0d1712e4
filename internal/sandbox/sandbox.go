// Package sandbox runs processes of strangers: containers by runc with their own file system, namespaces, limits and way
// out to the network. Builds and instances of apps use the same one.
package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// Options configure a Host.
type Options struct {
	Dir     string // state of containers, network namespaces, mounts; private to root; survives restarts
	Runtime string // OCI runtime; default "runc"
	Log     func(format string, args ...any)
}

// Host is this machine, as one gitd server uses it. Several servers share a machine without knowing of one another: cgroups,
// interfaces, addresses and firewall table are named after the Host's directory.
type Host struct{ opts Options }

// Open prepares the machine: it checks that we are root, that the runtime, cgroups and overlayfs are there, and makes the
// firewall table. It returns an *app.Error with code Unavailable that says which command installs what is missing.
func Open(ctx context.Context, o Options) (*Host, error) {
	return nil, errors.New("sandbox: not written yet")
}

// Close gives up what the process holds. Containers go on running.
func (h *Host) Close() error { return nil }

// Mount is a bind mount from the host.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Spec is one container. It runs without capabilities, with no-new-privileges, the default seccomp profile, a private
// network namespace, masked /proc paths, and a read-only root unless Writable.
type Spec struct {
	ID       string            // unique on the Host; [a-z0-9-]
	Labels   map[string]string // kept on disk, given back by Containers
	Layers   []string          // unpacked layer directories, bottom first
	Writable bool              // an overlay upper directory that is removed with the container
	Args     []string
	Env      []string
	Dir      string // working directory
	UID, GID uint32
	Hostname string
	Mounts   []Mount
	Memory   int64     // bytes, swap included; 0 for no limit
	CPU      float64   // cores; 0 for no limit
	PIDs     int64     // 0 for 1024
	FileSize int64     // RLIMIT_FSIZE; 0 for no limit
	TmpSize  int64     // bytes of the tmpfs on /tmp; 0 for 64 MiB
	Egress   bool      // a way out to the network, masqueraded; never to this host's own addresses nor to other containers
	LogFile  string    // stdout and stderr are appended to it (O_APPEND); "" with Output set, or to discard
	Output   io.Writer // stdout and stderr of a container started by Run
}

// Exit is how a container ended.
type Exit struct {
	Code        int    // 128+n where a signal ended it
	Signal      string // "killed", "segmentation fault"; "" where it exited
	OutOfMemory bool   // the kernel killed a process of it at its memory limit
	At          time.Time
}

// Container is one that was started, by this process or by an earlier one on the same directory.
type Container struct {
	ID      string
	Labels  map[string]string
	Started time.Time
}

// Start starts a container under a shim of its own and returns when its process runs. The container outlives gitd.
func (h *Host) Start(ctx context.Context, s Spec) (*Container, error) {
	return nil, errors.New("sandbox: not written yet")
}

// Run runs a container to its end and removes it. When ctx ends, everything in the container is killed before Run returns,
// with ctx's cause as the error. The container does not outlive gitd.
func (h *Host) Run(ctx context.Context, s Spec) (Exit, error) {
	return Exit{}, errors.New("sandbox: not written yet")
}

// Containers returns every container on the Host that was started and not removed, running or ended: what a new process
// adopts after the old one was killed. What was left half made is cleaned up on the way.
func (h *Host) Containers(ctx context.Context) ([]*Container, error) { return nil, nil }

// Done is closed when the container has ended.
func (c *Container) Done() <-chan struct{} { return nil }

// Exit returns how it ended; valid once Done is closed.
func (c *Container) Exit() Exit { return Exit{} }

// Dial connects to a TCP port on the container's own loopback, from outside of it.
func (c *Container) Dial(ctx context.Context, port int) (net.Conn, error) {
	return nil, errors.New("sandbox: not written yet")
}

// Listening returns the TCP ports that something in the container listens on, ascending.
func (c *Container) Listening() ([]int, error) { return nil, nil }

// Stop sends SIGTERM to the container's first process, and SIGKILL to everything in it after grace. It returns when it has ended.
func (c *Container) Stop(ctx context.Context, grace time.Duration) error { return nil }

// Remove kills what still runs and removes every trace but the log file.
func (c *Container) Remove(ctx context.Context) error { return nil }
