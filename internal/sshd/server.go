// Package sshd is gitd's SSH server: connections and who they are, and sessions, each of which runs one command. What the commands do is said by
// the verbs that are registered with it.
package sshd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Options configure a Server. Zero values stand for the defaults.
type Options struct {
	HostKeyFile string // the server's private key; made (ed25519) if it does not exist
	Handler     Handler

	// Verbs are commands by their first word, or first two words. All other commands are the Handler's.
	Verbs map[string]Verb
	// Env are the environment variables that a client may set. The function checks a value of at most 256 bytes, and returns what Session.Env is to return.
	Env map[string]func(value string) (string, bool)
	// Greeting answers a client that asks for a shell.
	Greeting func(key app.Key) string

	HandshakeTimeout time.Duration // until a registered key is offered, and 5 times that more until it is proven; default 10 s
	IdleTimeout      time.Duration // a client that answers nothing for this long is cut off; default 60 s
	KeepAlive        time.Duration // between two questions whether the client is there; default a quarter of IdleTimeout
	UnusedTimeout    time.Duration // an authenticated client without a command is cut off after this; default 2 minutes
	MaxInput         int64         // bytes of input of all commands together that may lie in memory unread; a quarter of them from one address; default 512 MiB
	MaxConnections   int           // default 512; half of them may be unauthenticated
	MaxPerAddress    int           // connections from one IPv4 address or IPv6 /64; default 64, below 0 for no limit of their own
	MaxAuthFailures  int           // failed logins of such an address until it is refused; default 10, below 0 for no limit
	AuthRecovery     time.Duration // until one failed login is forgotten; default 6 s. No address is refused for longer than 5 of these after the last failure

	// UserCAs may sign certificates for users. A certificate stands for the registered key whose name is among its principals.
	UserCAs []gossh.PublicKey
	// KeyByName returns the registered key with this name, or an *app.Error (CodeNotFound). It must be set where there are UserCAs.
	KeyByName func(ctx context.Context, name string) (app.Key, error)

	Log     func(format string, args ...any) // the server's log: one line for each command
	Metrics telemetry.SSH

	now func() time.Time // for back-off and the validity of certificates; tests set it
}

// Handler is what the server needs of the rest of gitd. Every error that is an *app.Error is told to the client in words.
type Handler interface {
	// Identify returns the key with this fingerprint, or an *app.Error (CodeNotFound).
	Identify(ctx context.Context, fingerprint string) (app.Key, error)
	// Confirm says whether key still may do verb with the app that has this ID; 0 for one that did not exist. With verb app.VerbUse it says whether
	// the key still is what it was.
	Confirm(ctx context.Context, key app.Key, name string, id int64, verb app.Verb) error
	// Loggable is a command line for the log, without secrets.
	Loggable(args []string) string
	// Asks says what a command needs of its client.
	Asks(args []string) app.Asked
	// Command runs a command such as "apps" or "logs hello -f" and returns the exit status. ctx ends when the client goes away. The client is nil where
	// the command does not work with it.
	Command(ctx context.Context, key app.Key, args []string, stdin io.Reader, stdout, stderr io.Writer, client *app.Client) int
}

// Verb runs a command. It has the words after those that it is registered by.
type Verb func(s *Session, args []string) Outcome

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Greeting == nil {
		o.Greeting = func(app.Key) string { return "" }
	}
	if o.now == nil {
		o.now = time.Now
	}
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.KeepAlive = cmp.Or(o.KeepAlive, o.IdleTimeout/4)
	o.UnusedTimeout = cmp.Or(o.UnusedTimeout, 2*time.Minute)
	o.MaxInput = cmp.Or(o.MaxInput, 512<<20)
	o.MaxConnections = cmp.Or(o.MaxConnections, 512)
	o.MaxPerAddress = cmp.Or(o.MaxPerAddress, 64)
	o.MaxAuthFailures = cmp.Or(o.MaxAuthFailures, 10)
	o.AuthRecovery = cmp.Or(o.AuthRecovery, 6*time.Second)
	return o
}

// Server is an SSH server.
type Server struct {
	opts       Options
	ssh        *ssh.Server
	companions companionKeys
	backoff    *backoff
	strangers  strangers
	windows    *windows
	received   *atomic.Int64 // bytes of all connections
	sent       *atomic.Int64

	base context.Context // ends all sessions
	end  context.CancelCauseFunc

	// mu guards the following.
	mu            sync.Mutex
	connections   map[*connection]struct{}
	unproven      map[net.Addr]*connection // those whose handshake is under way, by the address that both ends of gliderlabs/ssh have: a pointer
	perAddress    map[netip.Addr]int
	handshaking   int
	sessions      int
	leases        map[*lease]struct{}
	rechecked     uint64 // how often rights were rechecked
	draining      bool
	sessionsEnded chan struct{} // closed when draining and sessions is 0
}

// New makes a server.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	if o.HostKeyFile == "" || o.Handler == nil {
		return nil, errors.New("sshd: HostKeyFile and Handler must be set")
	}
	if err := checkCAs(o); err != nil {
		return nil, err
	}
	signer, err := hostKey(o.HostKeyFile)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, backoff: newBackoff(o.MaxAuthFailures, o.AuthRecovery), windows: newWindows(o.MaxInput), received: o.Metrics.Received.Of(), sent: o.Metrics.Sent.Of(),
		connections: map[*connection]struct{}{}, unproven: map[net.Addr]*connection{}, perAddress: map[netip.Addr]int{}, leases: map[*lease]struct{}{},
		sessionsEnded: make(chan struct{})}
	s.base, s.end = context.WithCancelCause(context.Background())
	s.ssh = &ssh.Server{
		Version:              version,
		HostSigners:          []ssh.Signer{signer},
		PublicKeyHandler:     s.offered, // without one, gliderlabs/ssh lets everybody in
		ServerConfigCallback: s.config,
		ConnCallback:         s.accept,
		ChannelHandlers:      map[string]ssh.ChannelHandler{"session": s.serveSession, "default": s.refuseChannel},
		RequestHandlers:      map[string]ssh.RequestHandler{"default": s.refuseRequest},
		SubsystemHandlers:    map[string]ssh.SubsystemHandler{},

		ConnectionFailedCallback: s.handshakeFailed,
	}
	return s, nil
}

// Serve takes connections from l until Shutdown; it then returns nil.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	draining := s.draining
	s.mu.Unlock()
	if draining {
		_ = l.Close()
		return nil
	}
	if err := s.ssh.Serve(l); !errors.Is(err, ssh.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no new connections and commands, and waits for those under way. When ctx ends before they do, they are
// cancelled, and told so. All connections are closed when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		if s.sessions == 0 {
			close(s.sessionsEnded)
		}
	}
	s.mu.Unlock()
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_ = s.ssh.Shutdown(stopped) // closes the listeners; waiting is ours
	var err error
	select {
	case <-s.sessionsEnded:
	case <-ctx.Done():
		err = ctx.Err()
		s.end(ErrShutdown)
		select {
		case <-s.sessionsEnded:
		case <-time.After(lastWords):
		}
	}
	s.end(ErrShutdown)
	s.mu.Lock()
	open := make([]*connection, 0, len(s.connections))
	for c := range s.connections {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	return err
}

// lastWords is how long cancelled commands have for telling their clients.
const lastWords = 3 * time.Second

// enter counts a command in, unless the server is shutting down.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.sessions++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions--; s.sessions == 0 && s.draining {
		close(s.sessionsEnded)
	}
}

// version is how the server introduces itself. OpenSSH's client tells its extensions only to servers whose name begins like
// its own, and eow@openssh.com is the only way to learn that git was killed while its ssh lives on: git closes its
// end of the channel as soon as the pack is sent, so that the end of input says nothing.
const version = "OpenSSH_gitd"

// ciphers leaves out chacha20-poly1305: OpenSSH asks for it first and the client's order decides, while it is three times
// slower here than AES-GCM (and it is what the Terrapin attack needs).
var ciphers = []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"}

// KeyAlgorithms are the signature algorithms of users' keys: all but SHA-1 and DSA.
var KeyAlgorithms = []string{
	gossh.KeyAlgoED25519, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256,
	gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256,
}

// keyExchanges are all but those with SHA-1, and those over finite fields: they cost a server far more than a client.
var keyExchanges = []string{
	gossh.KeyExchangeMLKEM768X25519, gossh.KeyExchangeCurve25519,
	gossh.KeyExchangeECDHP256, gossh.KeyExchangeECDHP384, gossh.KeyExchangeECDHP521,
}

// macs are all but those with SHA-1; encrypt-then-MAC comes first. AES-GCM needs no MAC.
var macs = []string{gossh.HMACSHA256ETM, gossh.HMACSHA512ETM, gossh.HMACSHA256, gossh.HMACSHA512}

// checkCAs says whether the configured CAs can be used.
func checkCAs(o Options) error {
	if len(o.UserCAs) > 0 && o.KeyByName == nil {
		return errors.New("sshd: KeyByName must be set where there are UserCAs")
	}
	for _, k := range o.UserCAs {
		_, nested := k.(*gossh.Certificate)
		if nested || k.Type() != gossh.KeyAlgoRSA && !slices.Contains(KeyAlgorithms, k.Type()) {
			return app.Errorf(app.CodeInvalidInput, "use an ed25519 key: ssh-keygen -t ed25519", "a CA for users cannot have a key of type %s", k.Type())
		}
		if err := CheckKey(k); err != nil {
			return err
		}
	}
	return nil
}

// maxAuthTries is how many keys a client may try, as with OpenSSH.
const maxAuthTries = 6

// config is called once for each connection.
func (s *Server) config(ctx ssh.Context) *gossh.ServerConfig {
	c, _ := ctx.Value(connKey).(*connection)
	return &gossh.ServerConfig{
		Config:                    gossh.Config{Ciphers: ciphers, KeyExchanges: keyExchanges, MACs: macs},
		MaxAuthTries:              maxAuthTries,
		PublicKeyAuthAlgorithms:   KeyAlgorithms,
		PreAuthConnCallback:       c.keysExchanged,
		AuthLogCallback:           c.authLog,
		VerifiedPublicKeyCallback: s.verified(c),
	}
}
