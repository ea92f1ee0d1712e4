package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// connectFrom opens a TCP connection from a local address such as 127.0.0.2.
func (fx *fixture) connectFrom(address string) net.Conn {
	fx.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	c, err := d.Dial("tcp", fx.addr)
	if err != nil {
		fx.t.Fatal(err)
	}
	fx.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	return c
}

// dialFrom makes an SSH connection from a local address.
func (fx *fixture) dialFrom(address string, signer gossh.Signer) (*gossh.Client, error) {
	raw := fx.connectFrom(address)
	c, channels, requests, err := gossh.NewClientConn(raw, fx.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}})
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return gossh.NewClient(c, channels, requests), nil
}

// runs checks that a client from the address is served.
func (fx *fixture) runs(address string) {
	fx.t.Helper()
	c, err := fx.dialFrom(address, fx.signer(fx.key))
	if err != nil {
		fx.t.Errorf("from %s: %v", address, err)
		return
	}
	defer c.Close()
	ss, err := c.NewSession()
	if err != nil {
		fx.t.Errorf("from %s: %v", address, err)
		return
	}
	if out, err := ss.Output("whoami"); err != nil || string(out) != "laptop" {
		fx.t.Errorf("from %s: %q %v", address, out, err)
	}
}

// noMoreGoroutines checks that all of an attack's goroutines end.
func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	eventually(t, "the goroutines of the attack are gone", func() bool { return runtime.NumGoroutine() <= before+5 })
}

func TestConnectionsPerAddress(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPerAddress = 3; o.HandshakeTimeout = time.Minute })
	fx.h.command = whoami
	var held []net.Conn
	for range 3 {
		held = append(held, fx.connectFrom("127.0.0.1"))
	}
	eventually(t, "three wait", func() bool { return fx.connections() == 3 })
	b, _ := io.ReadAll(fx.connectFrom("127.0.0.1"))
	if string(b) != "gitd: too many connections from your address, try again in a moment\r\n" {
		t.Errorf("%q", b)
	}
	fx.logged("ssh 127.0.0.1:", "key=- - client=- -: refused: too many connections from your address")
	fx.runs("127.0.0.2")
	_ = held[0].Close()
	eventually(t, "one has gone", func() bool { return fx.connections() == 2 })
	fx.runs("127.0.0.1")
	for _, c := range held {
		_ = c.Close()
	}
	eventually(t, "nothing is counted any more", func() bool {
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
	fx.h.command = whoami
	stranger := fx.signer(fx.newKey("stranger", app.Key{}))
	open, err := fx.dialFrom("127.0.0.3", fx.signer(fx.key)) // is let in before, and stays
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	fail := func(address string, n int) {
		t.Helper()
		for range n {
			before := fx.connections()
			if c, err := fx.dialFrom(address, stranger); err == nil {
				_ = c.Close()
				t.Fatal("a stranger was let in")
			}
			eventually(t, "the failure is counted", func() bool { return fx.connections() <= before })
		}
	}
	at := func(address string) time.Duration {
		return fx.s.backoff.wait(addressOf(&net.TCPAddr{IP: net.ParseIP(address)}), fx.s.opts.now())
	}
	fail("127.0.0.2", 10)
	eventually(t, "the address is refused", func() bool { return at("127.0.0.2") > 0 })
	b, _ := io.ReadAll(fx.connectFrom("127.0.0.2"))
	if string(b) != "gitd: too many failed logins from your address, try again in 6 s\r\n" {
		t.Errorf("%q", b)
	}
	fx.logged("refused: too many failed logins from your address")
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
		_, _ = io.ReadFull(fx.connectFrom("127.0.0.4"), make([]byte, 4))
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
		fx.h.command = whoami
		for range crowd {
			fx.connectFrom("127.0.0.1")
		}
		eventually(t, "half of all places are taken", func() bool { return fx.connections() == fx.s.opts.MaxConnections/2 })
		for i := range 5 {
			fx.runs(fmt.Sprint("127.0.0.", i+2))
		}
		if n := fx.connections(); n > fx.s.opts.MaxConnections/2 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("authenticated", func(t *testing.T) {
		fx := start(t, func(o *Options) { o.MaxConnections = crowd; o.MaxPerAddress = -1 })
		fx.h.command = whoami
		key := fx.signer(fx.key)
		heap := heapInUse()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for range crowd / 10 {
					if _, err := fx.dialFrom(fmt.Sprint("127.0.1.", i), key); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		eventually(t, "all are there", func() bool { return fx.connections() == crowd })
		grown := heapInUse() - heap
		t.Logf("%d connections, both ends: %d KB each", crowd, grown/crowd>>10)
		if grown > 256<<20 {
			t.Errorf("%d MB for %d idle connections", grown>>20, crowd)
		}
		for i := range 5 {
			fx.runs(fmt.Sprint("127.0.0.", i+2))
		}
		dir := fx.work("served")
		fx.git(dir, "push", "platform", "main")
		fx.live("served", fx.git(dir, "rev-parse", "HEAD"))
	})
	noMoreGoroutines(t, before)
}

// heapInUse is what the process holds after a collection: heap and stacks.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func TestSlowClients(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("slow", func(t *testing.T) {
		fx := start(t, func(o *Options) { o.HandshakeTimeout = 300 * time.Millisecond; o.MaxAuthFailures = -1 })
		fx.h.command = whoami
		drip := func(c net.Conn, text string) {
			for i := 0; ; i++ { // until it is cut
				if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		t.Run("version", func(t *testing.T) { drip(fx.connectFrom("127.0.0.1"), "SSH-2.0-slow") })
		t.Run("key exchange", func(t *testing.T) {
			c := fx.connectFrom("127.0.0.1")
			_, _ = io.WriteString(c, "SSH-2.0-slow\r\n\x00\x00\x7f\xff\x04")
			drip(c, "x")
		})
		t.Run("authentication", func(t *testing.T) {
			cut := make(chan struct{})
			raw := fx.connectFrom("127.0.0.1")
			_, _, _, err := gossh.NewClientConn(&endOf{raw, cut, sync.Once{}}, fx.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
				Auth: []gossh.AuthMethod{gossh.PublicKeysCallback(func() ([]gossh.Signer, error) {
					receiveOr(t, "the end of the connection", cut)
					return nil, errors.New("too late")
				})}})
			if err == nil {
				t.Error("let in")
			}
		})
		t.Run("proof", func(t *testing.T) {
			cut := make(chan struct{})
			never := slowSigner{fx.signer(fx.key), func() { receiveOr(t, "the end of the connection", cut) }}
			raw := fx.connectFrom("127.0.0.1")
			_, _, _, err := gossh.NewClientConn(&endOf{raw, cut, sync.Once{}}, fx.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
				Auth: []gossh.AuthMethod{gossh.PublicKeys(never)}})
			if err == nil {
				t.Error("let in")
			}
			fx.logged("not authenticated: took longer than 1.8s")
		})
		fx.logged("not authenticated: took longer than 300ms")
		eventually(t, "all places are free", func() bool { return fx.connections() == 0 })
	})
	t.Run("a person", func(t *testing.T) { // who types a passphrase has longer than HandshakeTimeout
		fx := start(t, func(o *Options) { o.HandshakeTimeout = 2 * time.Second })
		fx.h.command = whoami
		c, err := fx.dialFrom("127.0.0.1", slowSigner{fx.signer(fx.key), func() { time.Sleep(2500 * time.Millisecond) }})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
	noMoreGoroutines(t, before)
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
	fx.h.command = func(ctx context.Context, k app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
		select {
		case <-time.After(1500 * time.Millisecond): // longer than UnusedTimeout
			fmt.Fprint(out, k.Name)
		case <-ctx.Done():
		}
		return 0
	}
	unused, bare := fx.dial(), fx.dial()
	defer unused.Close()
	defer bare.Close()
	if _, err := bare.NewSession(); err != nil { // a channel is not a command
		t.Fatal(err)
	}
	fx.runs("127.0.0.1")
	for _, c := range []*gossh.Client{unused, bare} {
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		_ = receiveOr(t, "a connection without a command is cut", ended)
	}
	fx.logged("key=laptop SHA256:", `client="Go"`, " -: authenticated, and asked for nothing: no command for 500ms (")
	eventually(t, "all places are free", func() bool { return fx.connections() == 0 })
}

func TestFloods(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("flood", func(t *testing.T) {
		fx := start(t, nil)
		fx.h.command = whoami
		const flood = 20 * requestsAtOnce
		for name, send := range map[string]func(c *gossh.Client, ss *gossh.Session) error{
			"global": func(c *gossh.Client, _ *gossh.Session) error {
				_, _, err := c.SendRequest("x@example.com", false, nil)
				return err
			},
			"window-change": func(_ *gossh.Client, ss *gossh.Session) error { return ss.WindowChange(1, 1) },
			"pty": func(_ *gossh.Client, ss *gossh.Session) error {
				_, err := ss.SendRequest("pty-req", false, nil)
				return err
			},
			"signal": func(_ *gossh.Client, ss *gossh.Session) error { return ss.Signal(gossh.SIGINT) },
			"forward": func(c *gossh.Client, _ *gossh.Session) error {
				_, _, err := c.OpenChannel("direct-tcpip", nil)
				var refused *gossh.OpenChannelError
				if errors.As(err, &refused) {
					return nil
				}
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				c := fx.dial()
				defer c.Close()
				ss, err := c.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				for i := range flood {
					if err = send(c, ss); err != nil {
						if i < requestsAtOnce/2 {
							t.Errorf("cut off after %d already", i)
						}
						break
					}
				}
				if err == nil {
					t.Error("no end to it")
				}
				_ = c.Wait()
				fx.logged("too many requests")
				fx.runs("127.0.0.1")
			})
		}
	})
	noMoreGoroutines(t, before)
}

// TestChannelsOfOneWhoDoesNotRead opens channels and never reads what becomes of them.
func TestChannelsOfOneWhoDoesNotRead(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("flood", func(t *testing.T) {
		fx := start(t, nil)
		fx.h.command = whoami
		raw := fx.connectFrom("127.0.0.1")
		gate := &gated{Conn: raw}
		conn, channels, requests, err := gossh.NewClientConn(gate, fx.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
			Auth: []gossh.AuthMethod{gossh.PublicKeys(fx.signer(fx.key))}})
		if err != nil {
			t.Fatal(err)
		}
		go gossh.DiscardRequests(requests)
		go func() {
			for c := range channels {
				_ = c.Reject(gossh.Prohibited, "")
			}
		}()
		gate.shut.Store(true)
		for range 3 * requestsAtOnce {
			go func() { _, _, _ = conn.OpenChannel("x", nil) }()
		}
		eventually(t, "it is cut off", func() bool { return fx.connections() == 0 })
		_ = conn.Close()
		fx.runs("127.0.0.1")
	})
	noMoreGoroutines(t, before)
}

// gated is a connection that stops reading when it is shut.
type gated struct {
	net.Conn
	shut atomic.Bool
}

func (g *gated) Read(p []byte) (int, error) {
	for g.shut.Load() {
		if err := g.Conn.SetWriteDeadline(time.Time{}); err != nil { // closed
			return 0, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return g.Conn.Read(p)
}

// TestFrozenInMidPush stops git, ssh and all when a part of the pack has been sent.
func TestFrozenInMidPush(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("push", func(t *testing.T) {
		fx := start(t, func(o *Options) {
			o.HandshakeTimeout, o.IdleTimeout, o.KeepAlive = 2*time.Second, time.Second, 100*time.Millisecond
		})
		fx.h.setDeploy(func(context.Context, *Push) error { return errors.New("must not be deployed") })
		dir := fx.work("frozen")
		junk := make([]byte, 4<<20)
		_, _ = rand.Read(junk)
		fx.commit(dir, "junk", string(junk))
		fx.write("freeze", "#!/bin/sh\n{ head -c 1000000; kill -STOP 0; cat; } | ssh \"$@\"\n")
		git := fx.cmd(dir, "git", "push", "platform", "main")
		for i, v := range git.Env {
			if rest, ok := strings.CutPrefix(v, "GIT_SSH_COMMAND=ssh "); ok {
				git.Env[i] = "GIT_SSH_COMMAND=sh " + filepath.Join(fx.home, "freeze") + " " + rest
			}
		}
		git.Env = append(git.Env, "GIT_SSH_VARIANT=ssh")
		if err := git.Start(); err != nil {
			t.Fatal(err)
		}
		defer killGroupAndWait(git)
		fx.logged("cut off: the client has not answered for 1s")
		fx.logged("push frozen", "key=laptop")
		eventually(t, "no git process is left", func() bool { return len(children(fx.bare("frozen"))) == 0 })
		eventually(t, "its place is free", func() bool { return fx.connections() == 0 })
		fx.live("frozen", "")
		if n := fx.h.count(); n > 0 {
			t.Errorf("%d pushes were deployed", n)
		}
	})
	noMoreGoroutines(t, before)
}

// TestFiftyPushesAtOnce holds 50 pushes, to many apps and to one, in their deployments all at the same time.
func TestFiftyPushesAtOnce(t *testing.T) {
	const pushes, apps = 50, 40
	fx := start(t, func(o *Options) { o.HandshakeTimeout = 2 * time.Minute; o.IdleTimeout = 2 * time.Minute })
	arrived, release := make(chan struct{}, pushes), make(chan struct{})
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		arrived <- struct{}{}
		select {
		case <-release:
			return p.Accept()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	dir := fx.work("many")
	junk := make([]byte, 1<<20)
	_, _ = rand.Read(junk)
	commit := fx.commit(dir, "junk", string(junk))
	heap := heapInUse()
	resetPeak()
	rss := memory(t, "VmHWM")
	type done struct {
		app, out string
		err      error
	}
	ended := make(chan done, pushes)
	for i := range pushes {
		name := fmt.Sprint("app-", min(i, apps-1)) // the last ones all go to one app
		go func() {
			out, err := fx.try(dir, "push", fx.url(name), "main")
			ended <- done{name, out, err}
		}()
	}
	for range pushes {
		select {
		case <-arrived:
		case d := <-ended:
			t.Fatalf("%s: %v\n%s", d.app, d.err, d.out)
		case <-time.After(2 * time.Minute):
			t.Fatal("not all pushes get to their deployment")
		}
	}
	grown, peak := heapInUse()-heap, memory(t, "VmHWM")-rss
	t.Logf("%d pushes: %d KB of heap and stacks each, %d MB of memory at the peak", pushes, grown/pushes>>10, peak>>20)
	if grown > 64<<20 || peak > 512<<20 {
		t.Errorf("%d MB of heap, %d MB at the peak", grown>>20, peak>>20)
	}
	close(release)
	for range pushes {
		if d := <-ended; d.err != nil {
			t.Errorf("%s: %v\n%s", d.app, d.err, d.out)
		}
	}
	for i := range apps {
		if i%13 == 0 || i == apps-1 {
			fx.live(fmt.Sprint("app-", i), commit)
		}
	}
	eventually(t, "their places are free", func() bool { return fx.connections() == 0 })
}

// resetPeak starts VmHWM anew (proc(5), clear_refs).
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// memory returns a line of /proc/self/status in bytes.
func memory(t testing.TB, field string) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n"+field+":")
	n, err := strconv.ParseInt(strings.Fields(rest + " -")[0], 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	return n << 10
}

func TestAuditLines(t *testing.T) {
	fx := start(t, nil)
	fx.h.command = whoami
	fingerprint := gossh.FingerprintSHA256(fx.signer(fx.key).PublicKey())
	as := func(version string, signer gossh.Signer) {
		c, err := gossh.Dial("tcp", fx.addr, &gossh.ClientConfig{User: "git", ClientVersion: "SSH-2.0-" + version, HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
			Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}})
		if err != nil {
			return
		}
		defer c.Close()
		if ss, err := c.NewSession(); err == nil {
			_, _ = ss.CombinedOutput("who \x1b[31mam\ni")
		}
	}
	as("evil \"]0;x", fx.signer(fx.key))
	as("stranger", fx.signer(fx.newKey("stranger", app.Key{})))
	raw := fx.connectFrom("127.0.0.1")
	_, _ = io.WriteString(raw, "SSH-2.0-\x1b[31m\r\n\xff\xff\xff\xff\xff\xff\xff\xff")
	_, _ = io.ReadAll(raw)
	fx.logged("ssh 127.0.0.1:", "key=laptop "+fingerprint, `client="evil \"]0;x" "who \x1b[31mam i": ok (status 0, `)
	fx.logged("ssh 127.0.0.1:", "key=- SHA256:", `client="stranger" -: not authenticated (`)
	fx.logged("ssh 127.0.0.1:", "key=- - client=- -: not authenticated: ssh: ")
	eventually(t, "all are gone", func() bool { return fx.connections() == 0 })
	fx.mu.Lock()
	defer fx.mu.Unlock()
	if len(fx.log) != 3 {
		t.Errorf("%d lines for three connections", len(fx.log))
	}
	for _, line := range fx.log {
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
		if _, err := gossh.Dial("tcp", fx.addr, &gossh.ClientConfig{Config: c, User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
			Auth: []gossh.AuthMethod{gossh.PublicKeys(fx.signer(fx.key))}}); err == nil {
			t.Errorf("weak %s are agreed to", name)
		}
	}
}
