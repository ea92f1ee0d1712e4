package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

func TestConnectionsPerAddress(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPerAddress = 3; o.HandshakeTimeout = time.Minute })
	fx.h.SetCommand(whoami)
	var held []net.Conn
	for range 3 {
		held = append(held, fx.ConnectFrom("127.0.0.1"))
	}
	gittest.Eventually(t, "three wait", func() bool { return fx.s.Connections() == 3 })
	b, _ := io.ReadAll(fx.ConnectFrom("127.0.0.1"))
	if string(b) != "gitd: too many connections from your address, try again in a moment\r\n" {
		t.Errorf("%q", b)
	}
	fx.Logged("ssh 127.0.0.1:", "key=- - client=- -: refused: too many connections from your address")
	fx.runs("127.0.0.2")
	_ = held[0].Close()
	gittest.Eventually(t, "one has gone", func() bool { return fx.s.Connections() == 2 })
	fx.runs("127.0.0.1")
	for _, c := range held {
		_ = c.Close()
	}
	gittest.Eventually(t, "nothing is counted any more", func() bool {
		fx.s.mu.Lock()
		defer fx.s.mu.Unlock()
		return len(fx.s.perAddress) == 0 && len(fx.s.unproven) == 0 && fx.s.handshaking == 0 && len(fx.s.connections) == 0
	})
}

func TestFailedLoginsAreSlowedDown(t *testing.T) {
	var elapsed atomic.Int64
	begin := time.Now()
	fx := start(t, func(o *Options) {
		o.now = func() time.Time { return begin.Add(time.Duration(elapsed.Load())) }
	})
	fx.h.SetCommand(whoami)
	stranger := fx.Signer(fx.newKey("stranger", app.Key{}))
	open, err := fx.DialFrom("127.0.0.3", fx.Signer(fx.Key)) // is let in before, and stays
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	fail := func(address string, n int) {
		t.Helper()
		for range n {
			before := fx.s.Connections()
			if c, err := fx.DialFrom(address, stranger); err == nil {
				_ = c.Close()
				t.Fatal("a stranger was let in")
			}
			gittest.Eventually(t, "the failure is counted", func() bool { return fx.s.Connections() <= before })
		}
	}
	at := func(address string) time.Duration {
		return fx.s.backoff.wait(addressOf(&net.TCPAddr{IP: net.ParseIP(address)}), fx.s.opts.now())
	}
	fail("127.0.0.2", 10)
	gittest.Eventually(t, "the address is refused", func() bool { return at("127.0.0.2") > 0 })
	b, _ := io.ReadAll(fx.ConnectFrom("127.0.0.2"))
	if string(b) != "gitd: too many failed logins from your address, try again in 6 s\r\n" {
		t.Errorf("%q", b)
	}
	fx.Logged("refused: too many failed logins from your address")
	fx.runs("127.0.0.1") // others are not concerned
	elapsed.Add(int64(6 * time.Second))
	fx.runs("127.0.0.2") // and all is forgotten
	fail("127.0.0.2", 10)
	fx.runs("127.0.0.2") // behind it there are people with keys
	ss, err := open.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ss.Output("whoami"); err != nil || string(out) != "laptop" {
		t.Errorf("%q %v", out, err)
	}
	// a client that tries passwords counts, and one that merely looks whether there is a server does not
	for range 5 {
		_, _ = io.ReadFull(fx.ConnectFrom("127.0.0.4"), make([]byte, 4))
	}
	if at("127.0.0.4") > 0 {
		t.Error("health checks are refused")
	}
}

func TestIdleCrowd(t *testing.T) {
	const crowd = 500
	before := runtime.NumGoroutine()
	t.Run("silent", func(t *testing.T) {
		fx := start(t, func(o *Options) { o.HandshakeTimeout = time.Minute; o.MaxPerAddress = crowd })
		fx.h.SetCommand(whoami)
		for range crowd {
			fx.ConnectFrom("127.0.0.1")
		}
		gittest.Eventually(t, "half of all places are taken", func() bool { return fx.s.Connections() == fx.s.opts.MaxConnections/2 })
		for i := range 5 {
			fx.runs(fmt.Sprint("127.0.0.", i+2))
		}
		if n := fx.s.Connections(); n > fx.s.opts.MaxConnections/2 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("authenticated", func(t *testing.T) {
		fx := start(t, func(o *Options) { o.MaxConnections = crowd; o.MaxPerAddress = -1 })
		fx.h.SetCommand(whoami)
		key := fx.Signer(fx.Key)
		heap := gittest.HeapInUse()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for range crowd / 10 {
					if _, err := fx.DialFrom(fmt.Sprint("127.0.1.", i), key); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		gittest.Eventually(t, "all are there", func() bool { return fx.s.Connections() == crowd })
		grown := gittest.HeapInUse() - heap
		t.Logf("%d connections, both ends: %d KB each", crowd, grown/crowd>>10)
		if grown > 256<<20 {
			t.Errorf("%d MB for %d idle connections", grown>>20, crowd)
		}
		for i := range 5 {
			fx.runs(fmt.Sprint("127.0.0.", i+2))
		}
	})
	gittest.NoMoreGoroutines(t, before)
}

func TestSlowClients(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("slow", func(t *testing.T) {
		fx := start(t, func(o *Options) { o.HandshakeTimeout = 300 * time.Millisecond; o.MaxAuthFailures = -1 })
		fx.h.SetCommand(whoami)
		drip := func(c net.Conn, text string) {
			for i := 0; ; i++ { // until it is cut
				if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		t.Run("version", func(t *testing.T) { drip(fx.ConnectFrom("127.0.0.1"), "SSH-2.0-slow") })
		t.Run("key exchange", func(t *testing.T) {
			c := fx.ConnectFrom("127.0.0.1")
			_, _ = io.WriteString(c, "SSH-2.0-slow\r\n\x00\x00\x7f\xff\x04")
			drip(c, "x")
		})
		t.Run("authentication", func(t *testing.T) {
			cut := make(chan struct{})
			raw := fx.ConnectFrom("127.0.0.1")
			_, _, _, err := gossh.NewClientConn(&endOf{raw, cut, sync.Once{}}, fx.Addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.HostKey),
				Auth: []gossh.AuthMethod{gossh.PublicKeysCallback(func() ([]gossh.Signer, error) {
					gittest.Receive(t, "the end of the connection", cut)
					return nil, errors.New("too late")
				})}})
			if err == nil {
				t.Error("let in")
			}
		})
		t.Run("proof", func(t *testing.T) {
			cut := make(chan struct{})
			never := slowSigner{fx.Signer(fx.Key), func() { gittest.Receive(t, "the end of the connection", cut) }}
			raw := fx.ConnectFrom("127.0.0.1")
			_, _, _, err := gossh.NewClientConn(&endOf{raw, cut, sync.Once{}}, fx.Addr, fx.Client(never))
			if err == nil {
				t.Error("let in")
			}
			fx.Logged("not authenticated: took longer than 1.8s")
		})
		fx.Logged("not authenticated: took longer than 300ms")
		gittest.Eventually(t, "all places are free", func() bool { return fx.s.Connections() == 0 })
	})
	t.Run("a person", func(t *testing.T) { // who types a passphrase has longer than HandshakeTimeout
		fx := start(t, func(o *Options) { o.HandshakeTimeout = 2 * time.Second })
		fx.h.SetCommand(whoami)
		c, err := fx.DialFrom("127.0.0.1", slowSigner{fx.Signer(fx.Key), func() { time.Sleep(2500 * time.Millisecond) }})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
	gittest.NoMoreGoroutines(t, before)
}

// endOf is a connection that tells when it has ended.
type endOf struct {
	net.Conn
	ended chan struct{}
	once  sync.Once
}

func (e *endOf) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err != nil {
		e.once.Do(func() { close(e.ended) })
	}
	return n, err
}

// slowSigner takes its time.
type slowSigner struct {
	gossh.Signer
	wait func()
}

func (s slowSigner) Sign(r io.Reader, b []byte) (*gossh.Signature, error) {
	s.wait()
	return s.Signer.Sign(r, b)
}

func TestUnusedConnections(t *testing.T) {
	fx := start(t, func(o *Options) {
		o.HandshakeTimeout, o.UnusedTimeout, o.KeepAlive = 200*time.Millisecond, 500*time.Millisecond, 50*time.Millisecond
	})
	fx.h.SetCommand(func(ctx context.Context, k app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
		select {
		case <-time.After(1500 * time.Millisecond): // longer than UnusedTimeout
			fmt.Fprint(out, k.Name)
		case <-ctx.Done():
		}
		return 0
	})
	unused, bare := fx.Dial(), fx.Dial()
	defer unused.Close()
	defer bare.Close()
	if _, err := bare.NewSession(); err != nil { // a channel is not a command
		t.Fatal(err)
	}
	fx.runs("127.0.0.1")
	for _, c := range []*gossh.Client{unused, bare} {
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		_ = gittest.Receive(t, "a connection without a command is cut", ended)
	}
	fx.Logged("key=laptop SHA256:", `client="Go"`, " -: authenticated, and asked for nothing: no command for 500ms (")
	gittest.Eventually(t, "all places are free", func() bool { return fx.s.Connections() == 0 })
}

func TestAuditLines(t *testing.T) {
	fx := start(t, nil)
	fx.h.SetCommand(whoami)
	fingerprint := gossh.FingerprintSHA256(fx.Signer(fx.Key).PublicKey())
	as := func(version string, signer gossh.Signer) {
		c, err := gossh.Dial("tcp", fx.Addr, &gossh.ClientConfig{User: "git", ClientVersion: "SSH-2.0-" + version, HostKeyCallback: gossh.FixedHostKey(fx.HostKey),
			Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}})
		if err != nil {
			return
		}
		defer c.Close()
		if ss, err := c.NewSession(); err == nil {
			_, _ = ss.CombinedOutput("who \x1b[31mam\ni")
		}
	}
	as("evil \"]0;x", fx.Signer(fx.Key))
	as("stranger", fx.Signer(fx.newKey("stranger", app.Key{})))
	raw := fx.ConnectFrom("127.0.0.1")
	_, _ = io.WriteString(raw, "SSH-2.0-\x1b[31m\r\n\xff\xff\xff\xff\xff\xff\xff\xff")
	_, _ = io.ReadAll(raw)
	fx.Logged("ssh 127.0.0.1:", "key=laptop "+fingerprint, `client="evil \"]0;x" "who \x1b[31mam i": ok (status 0, `)
	fx.Logged("ssh 127.0.0.1:", "key=- SHA256:", `client="stranger" -: not authenticated (`)
	fx.Logged("ssh 127.0.0.1:", "key=- - client=- -: not authenticated: ssh: ")
	gittest.Eventually(t, "all are gone", func() bool { return fx.s.Connections() == 0 })
	lines := fx.Lines()
	if len(lines) != 3 {
		t.Errorf("%d lines for three connections", len(lines))
	}
	for _, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", line)
		}
	}
}

func TestStrangersDoNotFloodTheLog(t *testing.T) {
	now, lines := time.Unix(1_000_000, 0), 0
	var s strangers
	last := ""
	log := func(format string, args ...any) { lines++; last = fmt.Sprintf(format, args...) }
	for range 10 * strangersAtOnce {
		s.log(now, log, "line")
	}
	if lines != strangersAtOnce {
		t.Errorf("%d lines", lines)
	}
	now = now.Add(time.Second)
	s.log(now, log, "line")
	if want := fmt.Sprintf("line; %d more that did not authenticate are left out before this one", 9*strangersAtOnce); last != want {
		t.Errorf("%q", last)
	}
}

func TestAlgorithms(t *testing.T) {
	fx := start(t, nil)
	insecure := gossh.InsecureAlgorithms()
	for name, c := range map[string]gossh.Config{
		"key exchange":              {KeyExchanges: insecure.KeyExchanges},
		"finite fields":             {KeyExchanges: []string{gossh.KeyExchangeDH14SHA256, gossh.KeyExchangeDH16SHA512}},
		"ciphers":                   {Ciphers: insecure.Ciphers},
		"chacha20 (Terrapin)":       {Ciphers: []string{gossh.CipherChaCha20Poly1305}},
		"authentication of packets": {Ciphers: []string{gossh.CipherAES128CTR}, MACs: append(insecure.MACs, gossh.HMACSHA1)},
	} {
		if _, err := gossh.Dial("tcp", fx.Addr, &gossh.ClientConfig{Config: c, User: "git", HostKeyCallback: gossh.FixedHostKey(fx.HostKey),
			Auth: []gossh.AuthMethod{gossh.PublicKeys(fx.Signer(fx.Key))}}); err == nil {
			t.Errorf("weak %s are agreed to", name)
		}
	}
}
