package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
	"github.com/gitd-io/gitd/internal/tail"
)

// maxReply is the longest line that we take from the helper.
const maxReply = 1 << 20

// leastMemory is what a helper may have, in bytes, where a build may have less: it reads the previous image, too.
const leastMemory = 256 << 20

// helperProcess is our end of the helper.
type helperProcess struct {
	ctx      context.Context
	room     *sandbox.Room
	memory   int64 // limit
	command  *exec.Cmd
	in       io.WriteCloser
	replies  *bufio.Scanner
	stderr   tail.Tail
	job      wire.Job
	engine   *Engine
	registry *registry.Registry
	listener net.Listener // of the registry, in the room
	layers   int          // that the helper has told of
	placed   string       // digest of the image that was placed, and is on the disk; "" for none
	ended    sync.Once
}

// startHelper starts the helper, which begins with analyze at once, confined to the build's limits and to no network but the
// registry's port. It ends when ctx does, or when close is called.
func (b *running) startHelper(ctx context.Context, previous string) (_ *helperProcess, err error) {
	j, r := b.job(previous), b.opts.Registry
	h := &helperProcess{ctx: ctx, memory: max(b.Limits.Memory, leastMemory), job: j, engine: b.Engine, registry: r}
	h.command = exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", b.program.Fd()))
	h.command.Args[0] = parts.Helper
	h.command.Env = parts.Env(fmt.Sprintf("GOMEMLIMIT=%d", h.memory/4*3))
	h.command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Unshareflags: syscall.CLONE_NEWNS,
		Setpgid:      true,
	}
	h.command.Stderr = &h.stderr
	if h.in, err = h.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.replies = bufio.NewScanner(out)
	h.replies.Buffer(make([]byte, 0, 4096), maxReply)
	if h.room, err = b.opts.Host.Room(j.Build+"-helper", sandbox.RoomLimits{Memory: h.memory, CPU: b.Limits.CPU, PIDs: 256}); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(r.Host())
	if err == nil {
		err = h.serveRegistry(port)
	}
	if err == nil {
		err = h.room.Start(h.command)
	}
	if err != nil {
		return nil, errors.Join(err, h.room.Close())
	}
	if err := h.send(j); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// serveRegistry makes the registry answer in the helper's network namespace, at the address that it has in ours.
func (h *helperProcess) serveRegistry(port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	l, err := h.room.Listen(n)
	if err != nil {
		return fmt.Errorf("listen for the build helper: %w", err)
	}
	h.listener = l
	go func() { _ = h.registry.Serve(l) }()
	return nil
}

func (h *helperProcess) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = h.in.Write(append(b, '\n'))
	return err
}

func (h *helperProcess) tell(command string) error {
	_, err := io.WriteString(h.in, command+"\n")
	return err
}

// next waits for a reply that is not about a blob or an image to place. Those are placed on the way.
func (h *helperProcess) next() (*wire.Reply, error) {
	for h.replies.Scan() {
		var r wire.Reply
		if err := json.Unmarshal(h.replies.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("build helper: %w", err)
		}
		switch {
		case r.Failed != nil:
			return nil, h.failure(r.Failed)
		case r.Layer != nil:
			if h.layers++; h.layers <= mostLayers {
				h.engine.unpack(filepath.Join(h.job.App, h.job.Build, artifactsDir), r.Layer)
			}
		case r.Blob != nil || r.Image != nil:
			if err := h.placeAny(&r); err != nil {
				return nil, err
			}
			if err := h.tell(wire.CommandPlaced); err != nil {
				return nil, err
			}
		default:
			return &r, nil
		}
	}
	if err := context.Cause(h.ctx); err != nil {
		return nil, err
	}
	return nil, h.died()
}

// died is the error of a helper that ended without a reply.
func (h *helperProcess) died() error {
	_ = h.in.Close()
	_ = h.command.Process.Kill()
	_ = h.command.Wait()
	outOfMemory := h.room.OutOfMemory()
	_ = h.close()
	const next = "have the build write less into /layers/*.toml and the files beside the layers that describe them"
	switch {
	case outOfMemory:
		return app.Errorf(app.CodeLimitExceeded, next+", or ask the operator for a higher memory limit (gitd serve --build-memory)",
			"what the build left could not be read within its memory limit of %s", app.Size(h.memory))
	case errors.Is(h.replies.Err(), bufio.ErrTooLong):
		return app.Errorf(app.CodeLimitExceeded, next, "what the build left says more of its process types than %s", app.Size(maxReply))
	}
	return fmt.Errorf("build helper ended early (%v): %s", h.command.ProcessState, h.stderr.String())
}

// placeAny places a blob or an image. An image may have the layers of its repository and of the run image.
func (h *helperProcess) placeAny(r *wire.Reply) error {
	if r.Blob != nil {
		return h.place(r.Blob)
	}
	digest, err := h.registry.PlaceImage(h.job.Repository, h.job.Tag, h.job.RunName, r.Image.Manifest, r.Image.Config)
	h.placed = digest
	return err
}

var hexForm = pattern.New(`^[0-9a-f]{64}$`)

// place hands a blob to the registry. The directory is the helper's alone: the build's container never saw it.
func (h *helperProcess) place(b *wire.Blob) error {
	if !hexForm.MatchString(b.Hex) {
		return fmt.Errorf("build helper: %q is not a digest", b.Hex)
	}
	file := filepath.Join(h.job.App, h.job.Build, "blobs", b.Hex)
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != b.Size {
		return fmt.Errorf("build helper: blob %s is %s of %d bytes, not a file of %d", b.Hex, info.Mode(), info.Size(), b.Size)
	}
	return h.registry.PlaceBlob(h.job.Repository, "sha256:"+b.Hex, file)
}

func (h *helperProcess) failure(f *wire.Failed) error {
	err := fmt.Errorf("%s: %s", f.Phase, f.Message)
	switch f.Phase {
	case "export":
		return app.Wrap(err, app.CodeExportFailed, "push again; where it fails again, look at the layers that the buildpack wrote, and at the server's disk",
			"export failed: the image could not be written: %s", lifecycle.Clip(f.Message))
	case "check":
		return app.Wrap(err, app.CodeBuildFailed, "look at what writes the file, in the build or a buildpack of yours",
			"what the build says of its layers cannot be read: %s", lifecycle.Clip(f.Message))
	case "analyze", "restore":
		return app.Wrap(err, app.CodeBuildFailed, "push again with the cache cleared; where it fails again, ask the operator to look at the server's log",
			"%s failed: what the build before left could not be read: %s", f.Phase, lifecycle.Clip(f.Message))
	}
	return fmt.Errorf("build helper: %w", err)
}

// close ends the helper, waits for it, and removes what confined it.
func (h *helperProcess) close() error {
	var err error
	h.ended.Do(func() {
		_ = h.in.Close()
		if h.command.ProcessState == nil {
			_ = h.command.Process.Kill()
			_ = h.command.Wait()
		}
		_ = h.listener.Close()
		err = h.room.Close()
	})
	return err
}
