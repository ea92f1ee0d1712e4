package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
)

// An interactive command takes over its connection. Each frame on it is a byte for its kind, the length of its content in four bytes, and the content.
const (
	frameInput  = 'i' // of the client: standard input, no more than what credit there is
	frameEnd    = 'e' // of the client: the end of it
	frameResize = 'r' // of the client: rows and columns, in two bytes each
	frameSignal = 's' // of the client: the name of a signal
	frameOut    = 'o' // of the server: standard output
	frameErr    = 'E' // of the server: standard error
	frameRaw    = 'w' // of the server: the terminal passes bytes as they are from now on
	frameCredit = 'c' // of the server: so many bytes of input were read, in four bytes
	frameExit   = 'x' // of the server, the last one: the exit status, in four bytes
)

const (
	interactivePath = "/interactive"
	protocol        = "gitd-interactive"
	maxFrame        = 32 << 10
	inputCredit     = 256 << 10 // bytes of input that wait in the server at most
)

// frames writes to a connection.
type frames struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frames) send(kind byte, content []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; first || len(content) > 0; first = false {
		n := min(len(content), maxFrame)
		b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
		if _, err := f.w.Write(append(b, content[:n]...)); err != nil {
			return err
		}
		content = content[n:]
	}
	return nil
}

func (f *frames) writer(kind byte) io.Writer {
	return writer(func(p []byte) error {
		if len(p) == 0 {
			return nil
		}
		return f.send(kind, p)
	})
}

func number(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// receive reads one frame.
func receive(r io.Reader) (kind byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, errors.New("a frame is too long")
	}
	content = make([]byte, n)
	_, err = io.ReadFull(r, content)
	return head[0], content, err
}

// input is what a client has sent and the command has not read.
type input struct {
	mu     sync.Mutex
	more   *sync.Cond
	buf    bytes.Buffer // guarded by mu
	err    error        // guarded by mu: how it ended
	credit func(n int)
}

func newInput(credit func(n int)) *input {
	i := &input{credit: credit}
	i.more = sync.NewCond(&i.mu)
	return i
}

func (i *input) Read(p []byte) (int, error) {
	i.mu.Lock()
	for i.buf.Len() == 0 && i.err == nil {
		i.more.Wait()
	}
	n, _ := i.buf.Read(p)
	err := i.err
	i.mu.Unlock()
	if n > 0 {
		i.credit(n)
		return n, nil
	}
	return 0, err
}

// add takes what has come; with an error it was the last. It returns false where there is more than the client may send.
func (i *input) add(p []byte, err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer i.more.Broadcast()
	if i.err == nil {
		i.buf.Write(p)
		i.err = err
	}
	return i.buf.Len() <= inputCredit
}

// serveInteractive runs a command that works with its client.
func serveInteractive(run Runner, w http.ResponseWriter, q request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol); err != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	f := &frames{w: conn}
	in := newInput(func(n int) { _ = f.send(frameCredit, number(n)) })
	signals, resized := make(chan string, 16), make(chan app.WindowSize, 1)
	go func() {
		err := listen(buffered, in, signals, resized)
		in.add(nil, io.ErrUnexpectedEOF)
		cancel(app.Errorf(app.CodeCancelled, "run it again", "the client went away: %w", err))
	}()
	client := &app.Client{TTY: q.TTY, Term: q.Term, Size: q.Size, Signals: signals, Resized: resized}
	if q.TTY {
		client.Raw = func() (io.Reader, io.Writer) {
			_ = f.send(frameRaw, nil)
			return in, f.writer(frameOut)
		}
	}
	code := run(ctx, q.Args, in, f.writer(frameOut), f.writer(frameErr), client)
	_ = f.send(frameExit, number(code))
}

// listen takes what a client sends, until its connection ends.
func listen(r io.Reader, in *input, signals chan<- string, resized chan app.WindowSize) error {
	for {
		kind, content, err := receive(r)
		if err != nil {
			return err
		}
		switch kind {
		case frameInput:
			if !in.add(content, nil) {
				return errors.New("it sends more than it may")
			}
		case frameEnd:
			in.add(nil, io.EOF)
		case frameSignal:
			select {
			case signals <- string(content):
			default: // the command takes none
			}
		case frameResize:
			if len(content) != 4 {
				return errors.New("a size that is not one")
			}
			select {
			case <-resized: // an older one
			default:
			}
			resized <- app.WindowSize{Rows: binary.BigEndian.Uint16(content), Columns: binary.BigEndian.Uint16(content[2:])}
		}
	}
}

// Terminal is what an interactive command has at this end.
type Terminal struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	Term           string
	Size           app.WindowSize
	Resized        <-chan app.WindowSize
	Signals        <-chan string
	Raw            func() // has the terminal pass bytes as they are
}

// Interact runs a command in the server that works with its client, and returns its exit status, or ErrNoServer.
func Interact(ctx context.Context, file string, args []string, t Terminal) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", file)
	if err != nil {
		return 1, errors.Join(ErrNoServer, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	body, err := json.Marshal(request{Args: args, TTY: t.TTY, Term: t.Term, Size: t.Size})
	if err != nil {
		return 1, err
	}
	q, err := http.NewRequest(http.MethodPost, "http://gitd"+interactivePath, bytes.NewReader(body))
	if err != nil {
		return 1, err
	}
	q.Header.Set("Connection", "Upgrade")
	q.Header.Set("Upgrade", protocol)
	if err := q.Write(conn); err != nil {
		return 1, stopped()
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, q)
	if err != nil {
		return 1, stopped()
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return 1, app.Errorf(app.CodeUnavailable, "restart it: systemctl restart gitd", "the server that runs is of another version of gitd")
	}
	c := &caller{t: t, out: &frames{w: conn}, credit: make(chan int, 64), done: make(chan struct{})}
	defer close(c.done)
	go c.sendInput()
	go c.sendEvents()
	return c.hear(r)
}

func stopped() error {
	return app.Errorf(app.CodeUnavailable, "see what it did, and run the command again where needed", "the server stopped before the command was done")
}

// caller is the client of an interactive command.
type caller struct {
	t      Terminal
	out    *frames
	credit chan int
	done   chan struct{}
}

// hear takes what the server sends, until the exit status.
func (c *caller) hear(r io.Reader) (int, error) {
	for {
		kind, content, err := receive(r)
		if err != nil {
			return 1, stopped()
		}
		switch {
		case kind == frameOut:
			_, err = c.t.Stdout.Write(content)
		case kind == frameErr:
			_, err = c.t.Stderr.Write(content)
		case kind == frameRaw && c.t.Raw != nil:
			c.t.Raw()
		case kind == frameCredit && len(content) == 4:
			select {
			case c.credit <- int(binary.BigEndian.Uint32(content)):
			case <-c.done:
			}
		case kind == frameExit && len(content) == 4:
			return int(binary.BigEndian.Uint32(content)), nil
		}
		if err != nil { // who reads has gone: the command is told by the end of the connection
			return 1, err
		}
	}
}

// sendInput sends standard input, as far as there is credit.
func (c *caller) sendInput() {
	left := inputCredit
	buf := make([]byte, maxFrame)
	for {
		for left < maxFrame {
			select {
			case n := <-c.credit:
				left += n
			case <-c.done:
				return
			}
		}
		n, err := c.t.Stdin.Read(buf)
		if n > 0 && c.out.send(frameInput, buf[:n]) != nil {
			return
		}
		left -= n
		if err != nil {
			_ = c.out.send(frameEnd, nil)
			break
		}
	}
	for { // what is still acknowledged
		select {
		case <-c.credit:
		case <-c.done:
			return
		}
	}
}

// sendEvents sends signals and sizes.
func (c *caller) sendEvents() {
	for {
		select {
		case s := <-c.t.Signals:
			_ = c.out.send(frameSignal, []byte(s))
		case s := <-c.t.Resized:
			_ = c.out.send(frameResize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Rows), s.Columns))
		case <-c.done:
			return
		}
	}
}
