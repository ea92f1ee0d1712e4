package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Limits on what others may take of this machine.
const (
	maxConnections = 512              // at a time
	maxOfAddress   = 64               // of them, from one address
	maxUnknown     = 10 * time.Second // for a request without credentials, with its answer
	maxStall       = time.Minute      // without a byte of a request's body
	maxAnswer      = 30 * time.Minute // for one answer: a layer, at a slow node
	checkEvery     = 64 << 20         // bytes between two looks at the free disk
)

// network serves the nodes and Pods of a cluster.
type network struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{}
}

func (r *Registry) listen(ctx context.Context, o Options) (*network, error) {
	if o.MaxBlob == 0 {
		o.MaxBlob = 8 << 30
	}
	if o.MinFree == 0 {
		o.MinFree = 512 << 20
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, app.Errorf(app.CodeUnavailable, "stop what listens there (ss -ltnp shows it), or choose another: --registry-listen ADDRESS", "the registry's address %s is taken by another program", o.Listen)
	case err != nil:
		return nil, app.Errorf(app.CodeUnavailable, "give one such as --registry-listen :5000", "the registry cannot listen on %s: %w", o.Listen, err)
	}
	l = &limited{Listener: l, slots: make(chan struct{}, maxConnections), each: maxOfAddress, closed: make(chan struct{})}
	n := &network{listener: l, served: make(chan struct{}), server: newServer(hurry(maxUnknown, r.authorise(r.bound(o, r.guard(r.api)))))}
	if o.CertFile != "" {
		c := &certificate{cert: o.CertFile, key: o.KeyFile}
		if _, err := c.get(nil); err != nil {
			l.Close()
			return nil, app.Errorf(app.CodeInvalidInput, "name a certificate and its key, both as PEM files", "the registry's certificate %s cannot be used: %w", o.CertFile, err)
		}
		n.server.TLSConfig = &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}
	}
	go func() {
		defer close(n.served)
		if n.server.TLSConfig != nil {
			_ = n.server.ServeTLS(l, "", "")
		} else {
			_ = n.server.Serve(l)
		}
	}()
	return n, nil
}

func (n *network) close() error {
	err := n.server.Close()
	<-n.served
	return err
}

// Addr is where nodes and Pods reach the registry on this machine; nil where Options.Listen was "".
func (r *Registry) Addr() net.Addr {
	if r.network == nil {
		return nil
	}
	return r.network.listener.Addr()
}

// hurry bounds a request until its sender is known. The server reads what is left of a body that no handler wants, and would do so for
// as long as it takes.
func hurry(d time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		control, end := http.NewResponseController(w), time.Now().Add(d)
		_ = control.SetReadDeadline(end)
		_ = control.SetWriteDeadline(end)
		next.ServeHTTP(w, q)
	})
}

// bound keeps requests within what one client may take: bytes, disk and time.
func (r *Registry) bound(o Options, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(maxAnswer)) // the server reads on beside a handler, and ends its context when that fails
		_ = control.SetWriteDeadline(time.Now().Add(maxAnswer))
		switch q.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodDelete:
			if !strings.Contains(q.URL.Path, "/blobs/uploads/") {
				refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "nothing can be deleted here")
				return
			}
		default:
			if !r.roomy(o.MinFree) {
				refuse(w, http.StatusInsufficientStorage, "TOOMANYREQUESTS", "the registry's disk is full")
				return
			}
			q.Body = &boundBody{ReadCloser: q.Body, control: control, left: o.MaxBlob - r.uploaded(q.URL.Path), roomy: func() bool { return r.roomy(o.MinFree) }}
		}
		next.ServeHTTP(w, q)
	})
}

// roomy says whether the disk has that many bytes free, and room for files.
func (r *Registry) roomy(minFree int64) bool {
	free, err := disk.Free(r.dir)
	return err != nil || free.Short(minFree) == ""
}

// uploaded returns how much of an upload that is under way is there already.
func (r *Registry) uploaded(path string) int64 {
	repository, id, ok := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/blobs/uploads/")
	dir, err := r.repository(repository)
	if !ok || err != nil || id == "" || strings.ContainsAny(id, `/\`) || strings.HasPrefix(id, ".") {
		return 0
	}
	info, err := os.Stat(filepath.Join(dir, "_uploads", id, "data"))
	if err != nil {
		return 0
	}
	return info.Size()
}

var (
	errTooLarge = errors.New("larger than this registry takes")
	errFull     = errors.New("the registry's disk is full")
)

// boundBody ends a body that is too large, that stalls, or that fills the disk.
type boundBody struct {
	io.ReadCloser
	control *http.ResponseController
	left    int64
	read    int64 // since the last look at the disk
	roomy   func() bool
}

func (b *boundBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if b.read >= checkEvery {
		if b.read = 0; !b.roomy() {
			return 0, errFull
		}
	}
	_ = b.control.SetReadDeadline(time.Now().Add(maxStall))
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.read += int64(n)
	if b.left < 0 {
		return 0, errTooLarge
	}
	if errors.Is(err, io.EOF) { // what is left is ours to do
		_ = b.control.SetReadDeadline(time.Now().Add(maxAnswer))
	}
	return n, err
}

// certificate is read again when its file changes, so that renewing it needs no restart.
type certificate struct {
	cert, key string

	mu sync.Mutex // mu guards the following

	stamp   string
	current *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp := ""
	for _, f := range []string{c.cert, c.key} {
		info, err := os.Stat(f)
		if err != nil {
			return c.current, orNil(err, c.current != nil)
		}
		stamp += info.ModTime().String() + strconv.FormatInt(info.Size(), 10)
	}
	if c.current != nil && stamp == c.stamp {
		return c.current, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil { // half of it is written: the next handshake tries again
		return c.current, orNil(err, c.current != nil)
	}
	c.current, c.stamp = &pair, stamp
	return c.current, nil
}

func orNil(err error, isNil bool) error {
	if isNil {
		return nil
	}
	return err
}

// limited takes no more connections at a time than it has slots, and from one address no more than each; 0 for any number.
type limited struct {
	net.Listener
	slots  chan struct{}
	each   int
	closed chan struct{}
	once   sync.Once

	mu sync.Mutex // mu guards the following

	from map[string]int // address → connections
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		address, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		if !l.enter(address) {
			_ = c.Close()
			continue
		}
		return &slotted{Conn: c, release: sync.OnceFunc(func() {
			l.leave(address)
			<-l.slots
		})}, nil
	}
}

func (l *limited) enter(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.each > 0 && l.from[address] >= l.each {
		return false
	}
	if l.from == nil {
		l.from = map[string]int{}
	}
	l.from[address]++
	return true
}

func (l *limited) leave(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[address]--; l.from[address] == 0 {
		delete(l.from, address)
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type slotted struct {
	net.Conn
	release func()
}

func (c *slotted) Close() error {
	defer c.release()
	return c.Conn.Close()
}
