// Package control runs commands in the server from the shell of the same machine, over a socket that only root can open.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// request is one command.
type request struct {
	Args  []string `json:"args"`
	Stdin []byte   `json:"stdin,omitempty"`

	// Of an interactive one.
	TTY  bool           `json:"tty,omitempty"`
	Term string         `json:"term,omitempty"`
	Size app.WindowSize `json:"size,omitzero"`
}

// frame is one piece of a command's answer; the last one carries the exit status.
type frame struct {
	Out  []byte `json:"out,omitempty"`
	Err  []byte `json:"err,omitempty"`
	Exit *int   `json:"exit,omitempty"`
}

// maxRequest bounds a request: the configuration of an app is the largest thing that goes in, in base64.
const maxRequest = 2 << 20

// Runner runs one command and returns its exit status. ctx ends when the caller goes away. The client is nil where the command does not work with it.
type Runner func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, client *app.Client) int

// Listen opens the socket, replacing one that a killed server left. The caller holds the lock of the data directory.
func Listen(file string) (net.Listener, error) {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", file)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the next one takes its place, on a disk without room for another file as well
	return l, os.Chmod(file, 0o600)
}

// NewServer answers commands.
func NewServer(run Runner) *http.Server {
	return &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r.URL.Path == interactivePath {
			serveInteractive(run, w, q)
			return
		}
		s := &sender{w: w, flush: http.NewResponseController(w).Flush}
		code := run(r.Context(), q.Args, bytes.NewReader(q.Stdin), writer(func(p []byte) error { return s.send(frame{Out: p}) }),
			writer(func(p []byte) error { return s.send(frame{Err: p}) }), nil)
		_ = s.send(frame{Exit: &code})
	})}
}

type sender struct {
	mu    sync.Mutex
	w     io.Writer
	flush func() error
}

func (s *sender) send(f frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.NewEncoder(s.w).Encode(f); err != nil {
		return err
	}
	return s.flush()
}

type writer func(p []byte) error

func (w writer) Write(p []byte) (int, error) {
	if err := w(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ErrNoServer is returned when nothing answers on the socket.
var ErrNoServer = errors.New("no server is running")

// Call runs a command in the server and returns its exit status, or ErrNoServer.
func Call(ctx context.Context, file string, args []string, stdin []byte, stdout, stderr io.Writer) (int, error) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", file)
		if err != nil {
			return nil, errors.Join(ErrNoServer, err)
		}
		return conn, nil
	}}}
	defer c.CloseIdleConnections()
	body, err := json.Marshal(request{Args: args, Stdin: stdin})
	if err != nil {
		return 1, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gitd/command", bytes.NewReader(body))
	if err != nil {
		return 1, err
	}
	r, err := c.Do(q)
	if err != nil {
		return 1, err
	}
	defer r.Body.Close()
	d := json.NewDecoder(r.Body)
	for {
		var f frame
		if err := d.Decode(&f); err != nil {
			return 1, app.Errorf(app.CodeUnavailable, "see what it did, and run the command again where needed", "the server stopped before the command was done")
		}
		_, _ = stdout.Write(f.Out)
		_, _ = stderr.Write(f.Err)
		if f.Exit != nil {
			return *f.Exit, nil
		}
	}
}
