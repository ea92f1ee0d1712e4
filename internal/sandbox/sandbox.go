// Package sandbox runs processes of strangers: containers by runc with their own file system, namespaces, limits and way
// out to the network. Builds and instances of apps use the same one.
package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/parts"
)

// Options configure a Host.
type Options struct {
	Dir     string // state of containers, network namespaces, mounts; private to root; survives restarts
	Runtime string // OCI runtime; default "runc"
	UIDs    UIDs   // that stand for apps on this machine; DefaultUIDs
	Log     func(format string, args ...any)
}

// Host is this machine, as one gitd server uses it. Several servers share a machine without knowing of one another: cgroups,
// interfaces, addresses and firewall table are named after the Host's directory.
type Host struct {
	opts    Options
	id      string // six hexadecimal digits
	runtime string // path
	shim    string // path
	cgroups *cgroups
	network *network
	users   mappings

	mu sync.Mutex // mu guards the following

	containers map[string]*Container // those known to this process
	closed     bool
}

// Open prepares the machine: it checks that we are root, that the runtime, cgroups and overlayfs are there, and makes the
// firewall table. It returns an *app.Error with code Unavailable that says which command installs what is missing.
func Open(ctx context.Context, o Options) (*Host, error) {
	if o.Runtime == "" {
		o.Runtime = "runc"
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.UIDs == (UIDs{}) {
		o.UIDs = DefaultUIDs
	}
	if os.Geteuid() != 0 {
		return nil, app.Errorf(app.CodeUnavailable, "run it with sudo", "gitd serve needs root: it makes containers, network namespaces and firewall rules")
	}
	h := &Host{opts: o, containers: map[string]*Container{}}
	var err error
	if h.runtime, err = exec.LookPath(o.Runtime); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "install it: apt-get install "+filepath.Base(o.Runtime), "the container runtime %s is not installed: %w", o.Runtime, err)
	}
	if h.runtime, err = filepath.Abs(h.runtime); err != nil {
		return nil, err
	}
	if h.shim, err = parts.Path(parts.Shim); err != nil {
		return nil, err
	}
	if err := haveOverlay(ctx); err != nil {
		return nil, err
	}
	if err := makeBase(o.Dir); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "choose a data directory that root can write to", "cannot prepare the sandbox's directory %s: %w", o.Dir, err)
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if o.Dir, err = filepath.EvalSymlinks(o.Dir); err != nil {
		return nil, err
	}
	h.opts.Dir = o.Dir
	sum := sha256.Sum256([]byte(o.Dir))
	h.id = hex.EncodeToString(sum[:3])
	if h.cgroups, err = openCgroups("gitd-" + h.id); err != nil {
		return nil, err
	}
	if h.network, err = openNetwork(h.id, o.Log); err != nil {
		return nil, err
	}
	for _, base := range h.bases() { // the caller of Open has the directory to itself
		h.sweep(base, 0)
	}
	h.openUsers()
	if _, err := h.Containers(ctx); err != nil {
		_ = h.Close()
		return nil, err
	}
	h.removeRooms()
	return h, nil
}

// openUsers finds out how containers come to the files of their images' users.
func (h *Host) openUsers() {
	h.users = mappings{program: h.shim, known: map[mapping]*os.File{}}
	dir := h.opts.Dir
	if base, err := h.base(&Spec{ID: "of a trial"}); err == nil {
		dir = base
	}
	err := h.users.probe(dir)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) { // a full disk says nothing of the kernel
		err = mapsLayers()
	}
	if err != nil {
		h.opts.Log("apps can use the files of their images, but these seem to belong to another user: the kernel or the file system cannot show them otherwise (Linux 5.19 can): %v", err)
	} else {
		h.users.able = true
	}
	for _, t := range h.opts.UIDs.taken() {
		h.opts.Log("%s, which is among the user IDs of apps, %d-%d: choose others with --uids", t, h.opts.UIDs.First, h.opts.UIDs.Last)
	}
}

// Folders of a Host's directory.
const (
	containersDir = "containers" // one directory each
	runtimeDir    = "runtime"    // the runtime's own state
)

// Close gives up what the process holds. Containers go on running. When none is left, the firewall table and the cgroups go too.
func (h *Host) Close() (err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	known := h.containers
	h.containers = nil
	h.mu.Unlock()
	for _, c := range known {
		c.release()
	}
	none := true
	for _, base := range h.bases() {
		left, e := os.ReadDir(filepath.Join(base, containersDir))
		if e != nil && !errors.Is(e, os.ErrNotExist) {
			err = e
		}
		none = none && err == nil && len(left) == 0
	}
	h.users.close()
	h.network.close(none)
	if none {
		h.cgroups.remove("")
		h.removeVolatile()
	}
	return err
}

// haveOverlay checks that the kernel has overlayfs, loading its module if need be.
func haveOverlay(ctx context.Context) error {
	has := func() bool {
		b, _ := os.ReadFile("/proc/filesystems")
		return strings.Contains(string(b), "\toverlay\n")
	}
	if !has() {
		_ = exec.CommandContext(ctx, "modprobe", "overlay").Run()
	}
	if !has() {
		return app.Errorf(app.CodeUnavailable, "load it: modprobe overlay", "the kernel has no overlayfs")
	}
	return nil
}
