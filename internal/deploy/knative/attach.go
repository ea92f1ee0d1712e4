package knative

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/remotecommand"
	"knative.dev/pkg/ptr"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// gate holds a command back until a client is attached and sends a line: what a container writes before, an attachment does not have. gateWithHold also has the
// container live on for a second after the command: the end of a container cuts off what is still on its way to the client.
const (
	gate         = `IFS= read -r go && exec "$@"`
	gateWithHold = `IFS= read -r go || exit 1; exec 3<&0; "$@" <&3 3<&- & pid=$!; trap 'kill -TERM $pid 2>/dev/null' TERM; wait $pid; s=$?; ` +
		`while kill -0 $pid 2>/dev/null; do wait $pid; s=$?; done; sleep 1 2>/dev/null; exit $s`
)

// gated is the command of a container that waits for its client. With a terminal it stays in the foreground, where keys reach it.
func gated(command []string, terminal bool) []string {
	script := gateWithHold
	if terminal {
		script = gate
	}
	return append([]string{"/bin/sh", "-c", script, "sh"}, command...)
}

// attachment is the client of a run.
type attachment struct {
	p      *Platform
	s      deploy.RunSpec
	ended  atomic.Pointer[string] // the signal by which it was ended
	remove func()                 // ends the pod: SIGTERM, and SIGKILL after the grace
}

// prepare has a pod wait for its client.
func (a *attachment) prepare(spec *corev1.PodSpec) {
	c := &spec.Containers[0]
	c.Command = gated(c.Command, a.s.Terminal != nil)
	c.Stdin, c.StdinOnce, c.TTY = true, true, a.s.Terminal != nil
	if t := a.s.Terminal; t != nil && t.Term != "" {
		c.Env = append(c.Env, corev1.EnvVar{Name: "TERM", Value: t.Term})
	}
	spec.ShareProcessNamespace = ptr.Bool(true) // process 1 is not the command, which signals end as they do elsewhere
	spec.TerminationGracePeriodSeconds = ptr.Int64(int64(a.s.Grace.Seconds()))
}

// stream attaches to the pod, lets its command begin, and returns when that has ended.
func (a *attachment) stream(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, typed := io.Pipe() // signals of a terminal are keys
	defer typed.Close()
	o := remotecommand.StreamOptions{Stdin: a.input(ctx, keys), Stdout: orDiscard(a.s.Stdout), Stderr: orDiscard(a.s.Stderr)}
	if t := a.s.Terminal; t != nil {
		o.Tty, o.Stderr = true, nil
		o.Stdout = &withoutEcho{w: o.Stdout}
		o.TerminalSizeQueue = &sizes{ctx: ctx, first: &t.Size, next: t.Resized}
	}
	go a.passSignals(ctx, typed)
	return a.p.c.Stream(ctx, pod.Namespace, pod.Name, container, o)
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// input is the line that opens the gate, and what the client sends; of a terminal also the keys of its signals.
func (a *attachment) input(ctx context.Context, keys io.Reader) io.Reader {
	in := a.s.Stdin
	if in == nil {
		in = strings.NewReader("")
	}
	open := strings.NewReader("\n")
	if a.s.Terminal == nil {
		return io.MultiReader(open, in)
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(io.EOF) })
	go func() {
		if _, err := io.Copy(w, io.MultiReader(open, in)); err == nil {
			_, _ = w.Write([]byte{4}) // a program that reads lines is told their end
		}
	}()
	go func() { _, _ = io.Copy(w, keys) }()
	return r
}

// passSignals does for signals what a cluster can: the keys of a terminal, and the end of the pod.
func (a *attachment) passSignals(ctx context.Context, typed io.Writer) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-a.s.Signals:
			key := map[string]byte{"INT": 3, "QUIT": 28, "TSTP": 26}[name]
			switch {
			case a.s.Terminal != nil && key != 0:
				_, _ = typed.Write([]byte{key})
			case name == "INT" || name == "TERM" || name == "HUP" || name == "KILL" || name == "QUIT":
				if a.ended.CompareAndSwap(nil, &name) {
					a.remove()
				}
			}
		}
	}
}

// exit is how a run ended that follow has seen end, or not any more, since a signal removed its pod.
func (a *attachment) exit(e deploy.Exit, err error) (deploy.Exit, error) {
	name := a.ended.Load()
	if err == nil || name == nil {
		return e, err
	}
	var start *deploy.StartError
	if app.CodeOf(err) != app.CodeCancelled && !errors.As(err, &start) {
		return e, err
	}
	s, _ := deploy.Signal(*name)
	return deploy.Exit{Code: 128 + int(s), Signal: s.String()}, nil
}

// withoutEcho leaves out the echo of the line that opened the gate.
type withoutEcho struct {
	w    io.Writer
	left int // bytes of the echo that were left out
}

func (e *withoutEcho) Write(p []byte) (int, error) {
	const echo = "\r\n"
	n := 0
	for e.left < len(echo) && n < len(p) {
		if p[n] != echo[e.left] {
			e.left = len(echo)
			break
		}
		e.left++
		n++
	}
	m, err := e.w.Write(p[n:])
	return n + m, err
}

// sizes are those of a terminal.
type sizes struct {
	ctx   context.Context
	first *app.WindowSize
	next  <-chan app.WindowSize
}

// Next implements remotecommand.TerminalSizeQueue.
func (s *sizes) Next() *remotecommand.TerminalSize {
	size := app.WindowSize{}
	if s.first != nil && *s.first != size {
		size, s.first = *s.first, nil
	} else {
		s.first = nil
		select {
		case <-s.ctx.Done():
			return nil
		case size = <-s.next:
		}
	}
	return &remotecommand.TerminalSize{Width: size.Columns, Height: size.Rows}
}

// attachedOutput bounds the wait for what an attached command wrote, once it has ended and its client reads no more.
const attachedOutput = time.Minute
