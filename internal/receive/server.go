package receive

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/receive/lfs"
)

// Options configure a Server. Zero values stand for the defaults.
type Options struct {
	Dir         string // folder of the bare repositories, APP.git
	HostKeyFile string // the server's private key; made (ed25519) where there is none
	Handler     Handler
	Indexer     Indexer // default: ours, in this process

	MaxPack     int64         // bytes of one pack; default 1 GiB
	MaxObjects  uint32        // objects of one pack; default 2,000,000
	MaxFiles    int           // files and folders of one commit; default 200,000
	MaxDepth    int           // of folders; default 128
	MaxCheckout int64         // bytes of all files of one commit; default 2 GiB
	MaxMemory   uint64        // bytes that a git process may take for itself; default 2 GiB
	MaxCPU      time.Duration // processor time of a git process that checks a push; default 10 minutes
	MinFree     int64         // bytes that must be free on the disk for a push to be taken; default 256 MiB
	MaxLarge    int64         // bytes of one file in Git LFS; default 1 GiB
	MaxLargeApp int64         // bytes of all files in Git LFS of one app; default 4 GiB
	KeepLarge   time.Duration // how long a file in Git LFS is kept that nothing live needs; default 30 days
	MaxModules  int           // submodules of one commit, those of submodules included; default 64
	ModulesTime time.Duration // that fetching all of them may take; default 5 minutes
	MaxPacks    int           // packs of a repository; when there are more, small ones are put together; default 40

	// ModulesFrom are addresses that submodules may be fetched from beside the usual ones, which are all but this machine's, its
	// containers', link-local ones and clouds' metadata services.
	ModulesFrom []netip.Prefix

	HandshakeTimeout time.Duration // until a registered key is offered, and 5 times that more until it is proven; default 10 s
	IdleTimeout      time.Duration // a client that answers nothing for this long is cut off; default 60 s
	KeepAlive        time.Duration // between two questions whether the client is there; default a quarter of IdleTimeout
	QuestionTimeout  time.Duration // until a client says what it wants to push, for which its hooks may take their time; also between two large files; default 1 hour
	StallTimeout     time.Duration // in which something of a pack must arrive; default 10 minutes
	ReceiveTimeout   time.Duration // that a pack may take to arrive; default 6 hours
	UnusedTimeout    time.Duration // an authenticated client without a command is cut off after this; default 2 minutes
	MaxInput         int64         // bytes of input of all commands together that may lie in memory unread; a quarter of them from one address; default 512 MiB
	MaxConnections   int           // default 512; half of them may be unauthenticated
	MaxPerAddress    int           // connections from one IPv4 address or IPv6 /64; default 64, below 0 for no limit of their own
	MaxAuthFailures  int           // failed logins of such an address until it is refused; default 10, below 0 for no limit
	AuthRecovery     time.Duration // until one failed login is forgotten; default 6 s. Nobody is refused for longer than 5 of these after the last failure

	// UserCAs may sign certificates for users. A certificate stands for the registered key whose name is among its principals.
	UserCAs []gossh.PublicKey
	// KeyByName returns the registered key with this name, or an *app.Error (CodeNotFound). It must be set where there are UserCAs.
	KeyByName func(ctx context.Context, name string) (app.Key, error)

	Log func(format string, args ...any) // the server's log: one line for each command

	now     func() time.Time // for back-off and the validity of certificates; tests set it
	writers int              // of a checkout; 0: as many as there are processors for. Tests set it
}

func (o Options) withDefaults() Options {
	if o.Indexer == nil {
		o.Indexer = packIndexer{}
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	setDefault(&o.MaxPack, 1<<30)
	setDefault(&o.MaxObjects, 2_000_000)
	setDefault(&o.MaxFiles, 200_000)
	setDefault(&o.MaxDepth, 128)
	setDefault(&o.MaxCheckout, 2<<30)
	setDefault(&o.MaxMemory, 2<<30)
	setDefault(&o.MaxCPU, 10*time.Minute)
	setDefault(&o.MinFree, 256<<20)
	setDefault(&o.MaxPacks, 40)
	setDefault(&o.MaxModules, 64)
	setDefault(&o.ModulesTime, 5*time.Minute)
	setDefault(&o.MaxLarge, 1<<30)
	setDefault(&o.MaxLargeApp, 4<<30)
	setDefault(&o.KeepLarge, 30*24*time.Hour)
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.IdleTimeout, time.Minute)
	setDefault(&o.KeepAlive, o.IdleTimeout/4)
	setDefault(&o.QuestionTimeout, time.Hour)
	setDefault(&o.StallTimeout, 10*time.Minute)
	setDefault(&o.ReceiveTimeout, 6*time.Hour)
	setDefault(&o.UnusedTimeout, 2*time.Minute)
	setDefault(&o.MaxInput, 512<<20)
	setDefault(&o.MaxConnections, 512)
	setDefault(&o.MaxPerAddress, 64)
	setDefault(&o.MaxAuthFailures, 10)
	setDefault(&o.AuthRecovery, 6*time.Second)
	if o.now == nil {
		o.now = time.Now
	}
	return o
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Server is the SSH front.
type Server struct {
	opts       Options
	store      *store
	upkeep     *upkeep
	ssh        *ssh.Server
	companions companionKeys
	backoff    *backoff
	strangers  strangers
	windows    *windows

	base context.Context // ends all sessions
	end  context.CancelCauseFunc

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

// New makes a server, and removes what an earlier process left half done.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	if o.Dir == "" || o.HostKeyFile == "" || o.Handler == nil {
		return nil, errors.New("receive: Dir, HostKeyFile and Handler must be set")
	}
	if _, err := exec.LookPath("git"); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "install git: apt-get install git", "git is missing: %w", err)
	}
	if err := checkCAs(o); err != nil {
		return nil, err
	}
	signer, err := hostKey(o.HostKeyFile)
	if err != nil {
		return nil, err
	}
	st, err := openStore(o.Dir, lfs.Limits{Object: o.MaxLarge, App: o.MaxLargeApp, MinFree: o.MinFree, Keep: o.KeepLarge}, o.Log)
	if err != nil {
		return nil, fmt.Errorf("repositories in %s: %w", o.Dir, err)
	}
	s := &Server{opts: o, store: st, upkeep: newUpkeep(), backoff: newBackoff(o.MaxAuthFailures, o.AuthRecovery), windows: newWindows(o.MaxInput),
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
// cancelled, and told so. All connections are closed when it returns, and maintenance has ended.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		if s.sessions == 0 {
			close(s.sessionsEnded)
		}
	}
	s.mu.Unlock()
	s.upkeep.cancel()
	defer s.upkeep.running.Wait()
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_ = s.ssh.Shutdown(stopped) // closes the listeners; waiting is ours
	var err error
	select {
	case <-s.sessionsEnded:
	case <-ctx.Done():
		err = ctx.Err()
		s.end(errShutdown)
		select {
		case <-s.sessionsEnded:
		case <-time.After(lastWords):
		}
	}
	s.end(errShutdown)
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

// userKeys are the signature algorithms of users' keys: all but SHA-1 and DSA.
var userKeys = []string{
	gossh.KeyAlgoED25519, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256,
	gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256,
}

// keyExchanges are all but those with SHA-1, and those over finite fields: they cost a server far more than a client.
var keyExchanges = []string{
	gossh.KeyExchangeMLKEM768X25519, gossh.KeyExchangeCurve25519,
	gossh.KeyExchangeECDHP256, gossh.KeyExchangeECDHP384, gossh.KeyExchangeECDHP521,
}

// macs are all but those with SHA-1; encrypt-then-MAC comes first. AES-GCM needs none of them.
var macs = []string{gossh.HMACSHA256ETM, gossh.HMACSHA512ETM, gossh.HMACSHA256, gossh.HMACSHA512}

// checkCAs says whether the configured CAs can be used.
func checkCAs(o Options) error {
	if len(o.UserCAs) > 0 && o.KeyByName == nil {
		return errors.New("receive: KeyByName must be set where there are UserCAs")
	}
	for _, k := range o.UserCAs {
		_, nested := k.(*gossh.Certificate)
		if nested || k.Type() != gossh.KeyAlgoRSA && !slices.Contains(userKeys, k.Type()) {
			return app.Errorf(app.CodeInvalidInput, "use an ed25519 key: ssh-keygen -t ed25519", "a CA for users cannot have a key of type %s", k.Type())
		}
		if err := weak(k); err != nil {
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
		PublicKeyAuthAlgorithms:   userKeys,
		PreAuthConnCallback:       c.keysExchanged,
		AuthLogCallback:           c.authLog,
		VerifiedPublicKeyCallback: s.verified(c),
	}
}
