package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signal is what a process can be sent.
type Signal = syscall.Signal

// Streams are what a container that Attach starts reads and writes.
type Streams struct {
	Stdin          io.Reader // nil: empty
	Stdout, Stderr io.Writer // nil to discard. Where both are the same writer, its lines are in order. A write that fails ends the container's pipe, as in a shell.
	Terminal       *Terminal // nil: none; else Stdin and Stdout are its two ends
	Signals        <-chan Signal
	Grace          time.Duration // from SIGTERM to SIGKILL when ctx ends; 0 kills at once
	// Ended is told how the container ended when nothing of it runs any more and its output has arrived, before it is removed. It may be nil.
	Ended func(Exit)
}

// Run runs a container to its end and removes it. When ctx ends, everything in the container is killed before Run returns,
// with ctx's cause as the error. The container does not outlive gitd.
func (h *Host) Run(ctx context.Context, s Spec) (Exit, error) {
	if s.Output == nil {
		s.Output = io.Discard
	}
	out := &unfailing{w: s.Output}
	return h.Attach(ctx, s, Streams{Stdout: out, Stderr: out})
}

// unfailing is a writer that never fails: a reader that went away must not stop the container.
type unfailing struct {
	w    io.Writer
	gone bool
}

func (p *unfailing) Write(b []byte) (int, error) {
	if !p.gone {
		_, err := p.w.Write(b)
		p.gone = err != nil
	}
	return len(b), nil
}

// Attach runs a container to its end, with streams, and removes it. When ctx ends, the container is told to end, by SIGTERM and the end of its terminal, and
// everything in it is killed after the grace; the error is ctx's cause. The container does not outlive gitd.
func (h *Host) Attach(ctx context.Context, s Spec, st Streams) (Exit, error) {
	s.LogFile, s.Grace = "", 0
	a, err := newAttachment(&s, st)
	if err != nil {
		return Exit{}, err
	}
	l, err := h.launch(ctx, &s, &a.files, true)
	a.files.close()
	if err != nil {
		a.close()
		return Exit{}, err
	}
	c := l.container
	go c.watch()
	a.begin()
	err = a.wait(ctx, c)
	if err != nil && st.Grace <= 0 {
		_ = l.control.Close() // the shim kills everything
	}
	// The end is not ctx's matter: nothing may be left behind.
	if e := c.kill(context.Background()); e != nil {
		a.close()
		l.end()
		return Exit{}, errors.Join(err, e)
	}
	a.end(ctx)
	e := c.exit
	if st.Ended != nil && err == nil {
		st.Ended(e)
	}
	c.release()
	removed := h.erase(c.ID)
	l.end()
	if err != nil {
		return e, err
	}
	return e, removed
}

// attachment is our ends of a container's streams.
type attachment struct {
	st     Streams
	files  files
	in     *os.File // nil for none
	out    []outlet
	copied sync.WaitGroup
}

type outlet struct {
	from *os.File
	to   io.Writer
}

func newAttachment(s *Spec, st Streams) (a *attachment, err error) {
	if st.Stdout == nil {
		st.Stdout = io.Discard
	}
	if st.Stderr == nil {
		st.Stderr = io.Discard
	}
	a = &attachment{st: st}
	if t := st.Terminal; t != nil {
		s.Terminal = t
		a.files.console = &console{}
		return a, nil
	}
	defer func() {
		if err != nil {
			a.files.close()
			a.close()
		}
	}()
	if st.Stdin != nil {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, os.NewSyscallError("pipe2", err)
		}
		a.files.in = os.NewFile(uintptr(p[0]), "stdin")
		if err := unix.SetNonblock(p[1], true); err != nil {
			return nil, err
		}
		a.in = os.NewFile(uintptr(p[1]), "stdin")
	}
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	a.out, a.files.out = append(a.out, outlet{r, st.Stdout}), w
	if same(st.Stdout, st.Stderr) {
		a.files.err = w
		return a, nil
	}
	if r, w, err = pipe(); err != nil {
		return nil, err
	}
	a.out, a.files.err = append(a.out, outlet{r, st.Stderr}), w
	return a, nil
}

// same says whether two writers are one.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }() // of types that cannot be compared
	return a == b
}

// begin starts to copy. The container runs.
func (a *attachment) begin() {
	if t := a.files.console; t != nil {
		a.in = t.master
		a.out = []outlet{{t.master, a.st.Stdout}}
	}
	for _, o := range a.out {
		a.copied.Go(func() {
			_, err := io.Copy(onlyWriter{o.to}, onlyReader{o.from})
			if a.files.console == nil || err != nil && !errors.Is(err, unix.EIO) { // EIO is the end of a terminal
				_ = o.from.Close() // who writes is told, as in a shell
			}
		})
	}
	if a.in == nil || a.st.Stdin == nil {
		return
	}
	go func() { // it ends with the client's stream, or with ours
		_, err := io.Copy(onlyWriter{a.in}, onlyReader{a.st.Stdin})
		switch {
		case a.files.console == nil:
			_ = a.in.Close()
		case err == nil:
			a.files.console.endOfInput()
		}
	}()
}

// onlyReader and onlyWriter keep io.Copy from ways around our reads and writes: splice holds a client's socket.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// wait waits for the container's end, and passes on signals and sizes meanwhile. When ctx ends, it tells the container to end, and returns ctx's cause when
// it has, or the grace is over.
func (a *attachment) wait(ctx context.Context, c *Container) (err error) {
	var resized <-chan Size
	if a.st.Terminal != nil {
		resized = a.st.Terminal.Resized
	}
	signals := a.st.Signals
	gone := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-c.done:
			return err
		case <-gone:
			err, gone = context.Cause(ctx), nil
			if a.st.Grace <= 0 {
				return err
			}
			a.hangUp()
			_ = c.signalGroup(unix.SIGTERM)
			_ = c.signalGroup(unix.SIGCONT) // one that is stopped would not notice
			late = time.After(a.st.Grace)
		case <-late:
			return err
		case s, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			_ = c.signalGroup(s)
		case size, ok := <-resized:
			if !ok {
				resized = nil
				continue
			}
			a.files.console.resize(size)
		}
	}
}

// hangUp ends the terminal: the kernel sends SIGHUP to who works with it.
func (a *attachment) hangUp() {
	if a.files.console != nil {
		_ = a.files.console.master.Close()
	}
}

// end waits until all of the output has arrived, and closes our ends.
func (a *attachment) end(ctx context.Context) {
	done := make(chan struct{})
	go func() { a.copied.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(time.Second): // its reader has stopped
		}
	}
	a.close()
}

func (a *attachment) close() {
	if a.in != nil {
		_ = a.in.Close()
	}
	for _, o := range a.out {
		_ = o.from.Close()
	}
}

// files are the container's ends.
type files struct {
	in       *os.File // nil: empty
	out, err *os.File // nil with a console
	console  *console // nil: none
	start    *os.File // of a prepared container; nil: none
}

func (f *files) close() {
	for _, f := range []*os.File{f.in, f.out, f.err} {
		if f != nil {
			_ = f.Close()
		}
	}
}
