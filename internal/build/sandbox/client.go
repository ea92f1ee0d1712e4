package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/reexec"
	"github.com/gitd-io/gitd/internal/registry"
)

// maxReply is the longest line that we take from the helper.
const maxReply = 1 << 20

// helperProcess is our end of the helper.
type helperProcess struct {
	ctx      context.Context
	command  *exec.Cmd
	in       io.WriteCloser
	replies  *bufio.Scanner
	stderr   tail
	job      job
	registry *registry.Registry
}

// startHelper starts the helper, which begins with analyze at once. It ends when ctx does, or when close is called.
func startHelper(ctx context.Context, r *registry.Registry, j job) (*helperProcess, error) {
	h := &helperProcess{ctx: ctx, command: reexec.Command(ctx, helperName), job: j, registry: r}
	h.command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Unshareflags: syscall.CLONE_NEWNS,
		Setpgid:      true,
	}
	h.command.Stderr = &h.stderr
	var err error
	if h.in, err = h.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.replies = bufio.NewScanner(out)
	h.replies.Buffer(make([]byte, 0, 4096), maxReply)
	if err := startWithoutNewPrivileges(h.command); err != nil {
		return nil, err
	}
	if err := h.send(j); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// startWithoutNewPrivileges starts a command that cannot gain rights by running set-user-ID programs. The flag belongs to a
// thread and is inherited, never taken back: so it is set on a thread that ends with this.
func startWithoutNewPrivileges(c *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			started <- err
			return
		}
		started <- c.Start()
	}()
	return <-started
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

// next waits for a reply that is not about a blob. Blobs are placed on the way.
func (h *helperProcess) next() (*reply, error) {
	for h.replies.Scan() {
		var r reply
		if err := json.Unmarshal(h.replies.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("build helper: %w", err)
		}
		switch {
		case r.Failed != nil:
			return nil, h.failure(r.Failed)
		case r.Blob != nil:
			if err := h.place(r.Blob); err != nil {
				return nil, err
			}
			if err := h.tell(cmdPlaced); err != nil {
				return nil, err
			}
		default:
			return &r, nil
		}
	}
	if err := context.Cause(h.ctx); err != nil {
		return nil, err
	}
	_ = h.close()
	return nil, fmt.Errorf("build helper ended early (%v): %s", h.command.ProcessState, h.stderr.String())
}

var hexForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// place hands a blob to the registry. The directory is the helper's alone: the build's container never saw it.
func (h *helperProcess) place(b *blob) error {
	if !hexForm.MatchString(b.Hex) {
		return fmt.Errorf("build helper: %q is no digest", b.Hex)
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

func (h *helperProcess) failure(f *failed) error {
	err := fmt.Errorf("%s: %s", f.Phase, f.Message)
	switch f.Phase {
	case "export":
		return &app.Error{Code: app.ExportFailed, Err: err, Message: "export failed: the image could not be written: " + lifecycle.Clip(f.Message),
			Next: "push again; where it fails again, look at the layers that the buildpack wrote, and at the server's disk"}
	case "analyze", "restore":
		return &app.Error{Code: app.BuildFailed, Err: err, Message: f.Phase + " failed: what the build before left could not be read: " + lifecycle.Clip(f.Message),
			Next: "push again with the cache cleared; where it fails again, ask the operator to look at the server's log"}
	}
	return fmt.Errorf("build helper: %w", err)
}

// close ends the helper and waits for it.
func (h *helperProcess) close() error {
	_ = h.in.Close()
	if h.command.ProcessState != nil {
		return nil
	}
	_ = h.command.Process.Kill()
	_ = h.command.Wait()
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - 4096; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.b.String() }
