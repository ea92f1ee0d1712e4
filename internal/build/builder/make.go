package builder

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/gitd-io/gitd/internal/build/builder/wire"
	"github.com/gitd-io/gitd/internal/parts"
)

// stopTime is how long gitd-builder may take to end what it runs.
const stopTime = 10 * time.Second

// own returns our own builder and its run image, from the cache where that has them.
func own(ctx context.Context, c *cache.Cache, o Options) (img, runImage v1.Image, err error) {
	r, err := recipe.New(ctx, c, o.Base, o.Force)
	if err != nil {
		return nil, nil, err
	}
	if !o.Force {
		if img, runImage, err = c.Entry(r.Link()); err == nil {
			return img, runImage, nil
		}
	}
	if os.Geteuid() != 0 {
		return nil, nil, app.Errorf(app.CodeUnavailable, "run gitd builder create as root, or name another with --builder", "only root can make the builder image")
	}
	link, err := run(ctx, c, wire.Request{Base: o.Base, Force: o.Force})
	if err != nil {
		return nil, nil, err
	}
	return c.Entry(link)
}

// run has gitd-builder do what q asks for, passes on what it tells, and returns what it made. When ctx ends, everything of it has ended when run
// returns.
func run(ctx context.Context, c *cache.Cache, q wire.Request) (made string, err error) {
	program, err := parts.Path(parts.Builder)
	if err != nil {
		return "", err
	}
	q.Cache = c.Dir
	request, err := json.Marshal(q)
	if err != nil {
		return "", err
	}
	var crash bytes.Buffer
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(running, program)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), &crash
	// The folder of parts is beside gitd; gitd-builder, which is in it, would look beside itself.
	cmd.Env = append(os.Environ(), "GITD_PARTS="+filepath.Dir(program))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	// The kernel sends the parent-death signal when the thread that started the program ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", program, err)
	}
	made, answer := replies(out, c.Log)
	if answer != nil && !errors.Is(answer, io.EOF) { // it may not know that it is not understood
		stop()
	}
	_, _ = io.Copy(io.Discard, out)
	switch err = cmd.Wait(); {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case made == "" && errors.Is(answer, io.EOF):
		return "", fmt.Errorf("%s: %w: %s", parts.Builder, cmp.Or(err, io.ErrUnexpectedEOF), strings.TrimSpace(crash.String()))
	}
	return made, answer
}

// replies reads what gitd-builder says: what it made, or an error; io.EOF where it ended without either.
func replies(out io.Reader, log *app.Log) (made string, err error) {
	for d := json.NewDecoder(out); ; {
		var r wire.Reply
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return "", err
		} else if err != nil {
			return "", fmt.Errorf("%s: %w", parts.Builder, err)
		}
		switch {
		case r.Made != "":
			return r.Made, nil
		case r.Failed != nil && r.Failed.Code == app.CodeInternal && r.Failed.Next == "":
			return "", errors.New(r.Failed.Message)
		case r.Failed != nil:
			return "", app.Errorf(r.Failed.Code, r.Failed.Next, "%s", r.Failed.Message)
		default:
			log.Replay(r.Line)
		}
	}
}
