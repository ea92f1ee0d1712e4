package receive

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

func TestParseRemote(t *testing.T) {
	for in, want := range map[string]string{
		"https://example.com/a/b.git":             "https://example.com/a/b.git",
		"https://user:secret@example.com:8443/a":  "https://user:secret@example.com:8443/a",
		"ssh://git@example.com/a/b":               "ssh://git@example.com/a/b",
		"ssh://example.com:2222/~me/b":            "ssh://example.com:2222/~me/b",
		"git+ssh://git@example.com/a":             "ssh://git@example.com/a",
		"git@example.com:a/b.git":                 "git@example.com:a/b.git",
		"example.com:b":                           "example.com:b",
		"https://[2001:db8::1]:8443/a":            "https://[2001:db8::1]:8443/a",
		"git@[2001:db8::1]:a":                     "git@[2001:db8::1]:a",
		"ssh://git@example.com/with%20space/repo": "!holds characters",
	} {
		r, err := parseRemote(in)
		if want[0] == '!' {
			continue
		}
		if err != nil || r.url() != want {
			t.Errorf("%s: %q %v", in, r.url(), err)
		}
		if strings.Contains(r.String(), "secret") {
			t.Errorf("%s shows a password", r)
		}
	}
	for in, why := range map[string]string{
		"": "is none", "-oProxyCommand=id": "is none", "../b": "is relative", "./b": "is relative", "/srv/b": "is a path", "b": "is a path",
		"file:///srv/b": "file://", "git://example.com/b": "git://", "http://example.com/b": "http://", "ext::sh -c id": "characters",
		"ext::id": "is a path", "fd::17": "is a path", "https://-x/b": "no host", "ssh://-oProxyCommand=id/b": "no host", "-x@host:b": "is none",
		"ssh://-x@host/b": "no user", "ssh://git:pw@host/b": "no user", "host:-x": "no path", "ssh://host/-x": "no path", "https://host/": "no path", "https://host": "no path",
		"https://ho%20st/b": "", "https://host:0/b": "bad port", "https://host:99999999/b": "", "https://host/b?x": "cannot be read", "https://host/b#x": "cannot be read",
		"https://host/a\nb": "characters", "https://host/'b": "characters", "C:\\b": "characters", "https://[fe80::1%25eth0]/b": "no host",
		"https://2130706433/b": "no host", "https://127.1/b": "no host", "https://0x7f.1/b": "no host", "ssh://host.0X7F/b": "no host", "0x:b": "no host", "https://127.0.0.01/b": "no host",
		"https://" + strings.Repeat("x", 3000): "too long",
	} {
		_, err := parseRemote(in)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v; it must say %q", in, err, why)
		}
	}
	for _, c := range [][3]string{
		{"https://host/a/b.git", "../c.git", "https://host/a/c.git"}, {"https://host/a/b", "../../c", "https://host/c"}, {"https://host/a/b/", "./c", "https://host/a/b/c"},
		{"git@host:a/b", "../c", "git@host:a/c"}, {"git@host:b", "../c", "git@host:c"}, {"ssh://git@host:22/a/b", "../c", "ssh://git@host:22/a/c"},
		{"https://host/a/b", "https://other/c", "https://other/c"}, {"https://host/a", "../../../c", ""}, {"git@host:a", "../..", ""}, {"https://host/a/b", "../-x/../y", "https://host/a/y"}, {"https://host/a/b", "..", "https://host/a"}, {"https://host/a/b", ".", "https://host/a/b"},
		{"https://host/a/b", "file:///etc", ""}, {"https://host/a/b", "/etc", ""}, {"git@host:b", "../-oX", ""},
	} {
		from, err := parseRemote(c[0])
		if err != nil {
			t.Fatal(err)
		}
		r, err := from.resolve(c[1])
		if c[2] == "" && err == nil || c[2] != "" && (err != nil || r.url() != c[2]) {
			t.Errorf("%s from %s: %q %v; want %q", c[1], c[0], r.url(), err, c[2])
		}
	}
}

func TestOldGitPinsNothing(t *testing.T) {
	for version, want := range map[string]bool{
		"git version 2.36.9": false, "git version 2.37.0": true, "git version 2.39.5 (Apple Git-154)": true, "git version 3.0.rc1": true, "git version 1.99": false, "": false, "git": false,
	} {
		if hasResolve(version) != want {
			t.Errorf("%q: %v", version, !want)
		}
	}
	if !pinned() {
		t.Error("the tests need git 2.37 or newer")
	}
	real := pinned
	defer func() { pinned = real }()
	pinned = func() bool { return false }
	err := (&modules{push: &push{Server: &Server{}}}).get(context.Background(), objects{}, remote{scheme: "https", host: "192.0.2.1", path: "/x"}, zeroID)
	if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "too old to fetch over https") {
		t.Error(err)
	}
}

func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{"https://u:p@host:1/a/b", "git@host:a", "ssh://host/~a", "../x", "ext::x", "-o"} {
		f.Add(s, "../y")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		r, err := parseRemote(a)
		if err != nil {
			return
		}
		next, err := r.resolve(b)
		if err != nil {
			next = r
		}
		for _, r := range []remote{r, next} {
			again, err := parseRemote(r.url())
			if err != nil || again.host != r.host || again.scheme != r.scheme {
				t.Errorf("%q was read as %q, and that as %q (%v)", a, r.url(), again.url(), err)
			}
			if strings.HasPrefix(r.host, "-") || strings.HasPrefix(r.user, "-") || strings.ContainsAny(r.url(), " \n'\"\\") || r.scheme != "ssh" && r.scheme != "https" {
				t.Errorf("%q got through", r.url())
			}
		}
	})
}

func TestReachable(t *testing.T) {
	var own []net.Addr
	for _, s := range []string{"127.0.0.1/8", "192.168.7.5/24", "10.231.0.1/30", "203.0.113.9/32", "2001:db8:1::5/64"} {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "192.168.7.6": true, "10.0.0.1": true, "2001:db8:1::6": true, "127.0.0.2": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false, "192.168.7.5": false, "203.0.113.9": false, "2001:db8:1::5": false,
		"10.231.0.2": false, "169.254.169.254": false, "fe80::1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "fd00:ec2::254": false,
		"100.100.100.200": false, "168.63.129.16": false, "64:ff9b::7f00:1": false, "::7f00:1": false, "2002:7f00:1::": false,
	} {
		if got := reachable(netip.MustParseAddr(ip), own, allowed); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	mapped := remote{scheme: "https", host: "::ffff:127.0.0.1", path: "/x"}
	if _, err := mapped.addresses(context.Background(), nil); err == nil {
		t.Error("an IPv4 address in IPv6 clothes got through")
	}
}

// gitHTTPS serves the repositories below root over HTTPS, and returns its URL. what looks at each request first.
func gitHTTPS(t *testing.T, root string, what func(w http.ResponseWriter, r *http.Request) bool) (url string) {
	t.Helper()
	return gitHTTPSAt(t, "127.0.0.1:0", root, what)
}

func gitHTTPSAt(t *testing.T, address, root string, what func(w http.ResponseWriter, r *http.Request) bool) (url string) {
	t.Helper()
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}, InheritEnv: []string{"PATH"}, Stderr: os.Stderr}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if what != nil && what(w, r) {
			return
		}
		if p := r.Header.Get("Git-Protocol"); p != "" {
			r.Header.Set("Git-Protocol", p)
		}
		backend.ServeHTTP(w, r)
	}))
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Listener.Close()
	s.Listener = l
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSL_CAINFO", ca)
	return s.URL
}

// A submodule may be at an address of IPv6.
func TestSubmoduleAtIPv6(t *testing.T) {
	fx := start(t, func(o *Options) { o.ModulesFrom = []netip.Prefix{netip.MustParsePrefix("::1/128")} })
	root := t.TempDir()
	inner := fx.library(root, "inner")
	url := gitHTTPSAt(t, "[::1]:0", root, nil)
	dir := fx.work("six")
	fx.embed(dir, "inner", url+"/inner", fx.git(inner, "rev-parse", "HEAD"))
	fx.git(dir, "push", "platform", "main")
	fx.live("six", fx.git(dir, "rev-parse", "HEAD"))
}

// library makes a repository below root that others use as a submodule.
func (fx *fixture) library(root, name string) (dir string) {
	fx.t.Helper()
	dir = filepath.Join(root, name)
	fx.git("/", "init", "-q", dir)
	fx.commit(dir, name+".txt", "this is "+name+"\n")
	return dir
}

// embed adds a submodule by hand: git itself would fetch it.
func (fx *fixture) embed(dir, path, url, commit string) {
	fx.t.Helper()
	fx.git(dir, "config", "-f", ".gitmodules", "submodule."+path+".path", path)
	fx.git(dir, "config", "-f", ".gitmodules", "submodule."+path+".url", url)
	fx.git(dir, "add", ".gitmodules")
	fx.git(dir, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil { // else it counts as removed
		fx.t.Fatal(err)
	}
	fx.git(dir, "commit", "-qm", "add submodule "+path)
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestSubmodulesOverHTTPS(t *testing.T) {
	root := t.TempDir()
	var requests atomic.Int32
	url := gitHTTPS(t, root, func(w http.ResponseWriter, r *http.Request) bool {
		requests.Add(1)
		switch {
		case strings.HasPrefix(r.URL.Path, "/moved"):
			http.Redirect(w, r, strings.Replace(r.URL.String(), "/moved", "/inner", 1), http.StatusMovedPermanently)
			return true
		case strings.HasPrefix(r.URL.Path, "/private"):
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		case strings.HasPrefix(r.URL.Path, "/slow"):
			<-r.Context().Done()
			return true
		}
		return false
	})
	fx := start(t, func(o *Options) { o.ModulesFrom = loopback; o.MaxModules = 5 })
	inner := fx.library(root, "inner")
	outer := fx.library(root, "outer")
	fx.embed(outer, "deps/inner", "../inner", fx.git(inner, "rev-parse", "HEAD"))
	if err := os.Symlink("../inner-of-app", filepath.Join(outer, "up")); err != nil {
		t.Fatal(err)
	}
	fx.commit(outer, "bin/run", "x")
	var out string
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		out = fx.checkedOut(p)
		return p.Accept()
	})
	dir := fx.work("modules")
	fx.embed(dir, "lib/outer", url+"/outer", fx.git(outer, "rev-parse", "HEAD"))
	good := fx.git(dir, "rev-parse", "HEAD")

	said := fx.git(dir, "push", "platform", "main")
	mustHold(t, said, "Fetching submodule "+url+"/outer", "Fetching submodule "+url+"/inner")
	fx.live("modules", good)
	mustBe(t, filepath.Join(out, "hello.txt"), []byte("hello\n"))
	mustBe(t, filepath.Join(out, "lib/outer/outer.txt"), []byte("this is outer\n"))
	mustBe(t, filepath.Join(out, "lib/outer/deps/inner/inner.txt"), []byte("this is inner\n"))
	if target, err := os.Readlink(filepath.Join(out, "lib/outer/up")); target != "../inner-of-app" {
		t.Error(target, err)
	}

	t.Run("what is here is not fetched again", func(t *testing.T) {
		before := requests.Load()
		fx.commit(dir, "hello.txt", "hello again\n")
		if out := fx.git(dir, "push", "platform", "main"); strings.Contains(out, "Fetching") || requests.Load() != before {
			t.Errorf("fetched again:\n%s", out)
		}
	})
	t.Run("a newer commit", func(t *testing.T) {
		c := fx.commit(outer, "outer.txt", "a newer outer\n")
		fx.git(dir, "update-index", "--cacheinfo", "160000,"+c+",lib/outer")
		fx.git(dir, "commit", "-qm", "newer")
		mustHold(t, fx.git(dir, "push", "platform", "main"), "Fetching submodule "+url+"/outer")
		mustBe(t, filepath.Join(out, "lib/outer/outer.txt"), []byte("a newer outer\n"))
	})
	good = fx.git(dir, "rev-parse", "HEAD")

	innerCommit := fx.git(inner, "rev-parse", "HEAD")
	for _, c := range []struct {
		name, url, commit string
		want              []string
	}{
		{"no such commit", url + "/inner", strings.Repeat("12", 20), []string{"has no commit 121212121212", "git push --recurse-submodules=on-demand"}},
		{"no such repository", url + "/nothere", innerCommit, []string{"/nothere cannot be fetched: ", "see whether you can: git fetch"}},
		{"redirection", url + "/moved", innerCommit, []string{"is a redirection, which is not followed"}},
		{"login", url + "/private", innerCommit, []string{"cannot be read without a login", "deploy-key modules"}},
		{"password is not shown", strings.Replace(url, "://", "://me:s3cret@", 1) + "/private", innerCommit, []string{"cannot be read without a login"}},
		{"relative", "../inner", innerCommit, []string{"its URL is relative, and a push does not say to what", "name it by https://"}},
		{"file", "file://" + inner, innerCommit, []string{"begins with file://, which gitd does not fetch from"}},
		{"path", inner, innerCommit, []string{"is a path"}},
		{"ext", "ext::true", innerCommit, []string{"is a path"}},
		{"no host", "https://no-such-host.invalid/x", innerCommit, []string{"no-such-host.invalid"}},
		{"this machine", "https://[::1]/x", innerCommit, []string{"host ::1 resolves to ::1, which the server may not connect to"}},
		{"metadata", "https://169.254.169.254/latest", innerCommit, []string{"which the server may not connect to"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fx.embed(dir, "bad", c.url, c.commit)
			out := fx.rejected(dir, append(c.want, `submodule "bad": `), "push", "platform", "main")
			if strings.Contains(out, "s3cret") {
				t.Errorf("the password is shown:\n%s", out)
			}
			fx.live("modules", good)
			fx.noModuleLeft("modules")
			fx.git(dir, "reset", "-q", "--hard", good)
		})
	}
	t.Run("not in .gitmodules", func(t *testing.T) {
		fx.git(dir, "update-index", "--add", "--cacheinfo", "160000,"+innerCommit+",nowhere")
		fx.git(dir, "commit", "-qm", "x")
		fx.rejected(dir, []string{`submodule "nowhere": .gitmodules does not say where it comes from`, "git submodule add"}, "push", "platform", "main")
		fx.git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("too many", func(t *testing.T) {
		for i := range 5 {
			fx.embed(dir, fmt.Sprintf("m%d", i), url+"/inner", innerCommit)
		}
		fx.rejected(dir, []string{"there are more than 5 submodules"}, "push", "platform", "main")
		fx.git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("too deep", func(t *testing.T) {
		c := fx.git(inner, "rev-parse", "HEAD")
		for i := range 5 { // each commit has the one before as a submodule
			fx.embed(inner, "self", url+"/inner", c)
			c = fx.git(inner, "rev-parse", "HEAD")
			_ = i
		}
		fx.embed(dir, "deep", url+"/inner", c)
		fx.rejected(dir, []string{"submodules are nested more than 4 deep"}, "push", "platform", "main")
		fx.git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("symlink out of the app", func(t *testing.T) {
		evil := fx.library(root, "evil")
		if err := os.Symlink("../../etc/passwd", filepath.Join(evil, "link")); err != nil {
			t.Fatal(err)
		}
		fx.embed(dir, "evil", url+"/evil", fx.commit(evil, "x", "x"))
		fx.rejected(dir, []string{`the symlink "evil/link" points outside of the app`}, "push", "platform", "main")
		fx.git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("the client goes", func(t *testing.T) {
		fx.embed(dir, "slow", url+"/slow", innerCommit)
		git := fx.cmd(dir, "git", "push", "platform", "main")
		if err := git.Start(); err != nil {
			t.Fatal(err)
		}
		defer killGroupAndWait(git)
		eventually(t, "git fetches", func() bool { return strings.Contains(strings.Join(children(fx.bare("modules")), "\n"), "remote-https") })
		killGroupAndWait(git)
		eventually(t, "no git process is left", func() bool { return len(children(fx.bare("modules"))) == 0 })
		fx.live("modules", good)
		fx.noModuleLeft("modules")
		fx.git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("what is not needed any more goes", func(t *testing.T) {
		fx.git(dir, "rm", "-q", "-f", "--cached", "lib/outer")
		fx.git(dir, "commit", "-qm", "without")
		fx.git(dir, "push", "platform", "main")
		if found, _ := os.ReadDir(filepath.Join(fx.bare("modules"), modulesDir)); len(found) > 0 {
			t.Errorf("%d folders are left", len(found))
		}
	})
}

// noModuleLeft checks that a fetch has left nothing half done.
func (fx *fixture) noModuleLeft(name string) {
	fx.t.Helper()
	eventually(fx.t, "nothing half done is left", func() bool {
		for _, pattern := range []string{".new-*", "*/*.lock", "*/objects/pack/tmp_*", "*/objects/pack/.tmp*", "*/refs/commits/*.lock"} {
			if found, _ := filepath.Glob(filepath.Join(fx.bare(name), modulesDir, pattern)); len(found) > 0 {
				return false
			}
		}
		return true
	})
	dirs, _ := filepath.Glob(filepath.Join(fx.bare(name), modulesDir, "*"))
	for _, dir := range dirs {
		if out, err := fx.try("/", "--git-dir="+dir, "fsck", "--strict"); err != nil {
			fx.t.Errorf("fsck of %s: %v\n%s", dir, err, out)
		}
	}
}

func TestSubmoduleLimits(t *testing.T) {
	root := t.TempDir()
	url := gitHTTPS(t, root, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			<-r.Context().Done()
			return true
		}
		return false
	})
	fx := start(t, func(o *Options) { o.ModulesFrom = loopback; o.MaxPack = 1 << 20; o.ModulesTime = 2 * time.Second })
	big := fx.library(root, "big")
	c := fx.commit(big, "big", string(randomBytes(t, 2<<20)))
	dir := fx.work("limits")
	first := fx.git(dir, "rev-parse", "HEAD")
	fx.embed(dir, "big", url+"/big", c)
	fx.rejected(dir, []string{"is too large: more than 1 MB"}, "push", "platform", "main")
	fx.noModuleLeft("limits")
	fx.git(dir, "reset", "-q", "--hard", first)
	fx.embed(dir, "slow", url+"/slow", c)
	fx.rejected(dir, []string{"fetching the submodules took longer than 2s"}, "push", "platform", "main")
	eventually(t, "no git process is left", func() bool { return len(children(fx.bare("limits"))) == 0 })
	fx.live("limits", "")
	fx.noModuleLeft("limits")
}

// sshd runs OpenSSH's server, which lets in the keys of the file authorized in dir.
func sshd(t *testing.T, dir string) (address string, newHostKey func()) {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("this test needs sshd: apt-get install openssh-server")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it keeps its unprivileged child
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(dir, "sshd_config")
	hostKey := filepath.Join(dir, "host_key")
	text := fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n", port, hostKey, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var server *exec.Cmd
	stop := func() {
		if server != nil {
			_ = server.Process.Kill()
			_ = server.Wait()
		}
	}
	newHostKey = func() {
		stop()
		_, _ = os.Remove(hostKey), os.Remove(hostKey+".pub")
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		server = exec.Command(path, "-D", "-e", "-f", config)
		log, err := os.OpenFile(filepath.Join(dir, "sshd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		server.Stderr = log
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "sshd listens", func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	newHostKey()
	t.Cleanup(stop)
	return address, newHostKey
}

func TestPrivateSubmodulesOverSSH(t *testing.T) {
	root := t.TempDir()
	address, newHostKey := sshd(t, root)
	fx := start(t, func(o *Options) { o.ModulesFrom = loopback })
	secret := fx.library(root, "secret")
	dir := fx.work("private")
	url := "ssh://root@" + address + secret
	fx.embed(dir, "secret", url, fx.git(secret, "rev-parse", "HEAD"))

	fx.rejected(dir, []string{"app private does not exist yet", "apps create private"}, "push", "platform", "main")
	if _, err := os.Stat(filepath.Join(fx.bare("private"), deployKeyFile)); err == nil {
		t.Error("a key was made for an app that nobody owns")
	}
	fx.h.create("private", "other")
	out := fx.rejected(dir, []string{`submodule "secret": ` + url + " cannot be read: it does not exist, or is private", "let the app's deploy key read it: ssh-ed25519 "}, "push", "platform", "main")
	public, err := fx.s.DeployKey("private", false)
	if err != nil || !strings.Contains(out, public) || !strings.HasSuffix(public, " gitd:private") {
		t.Fatalf("the deploy key is %q (%v)", public, err)
	}
	if info, err := os.Stat(filepath.Join(fx.bare("private"), deployKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v %v", info.Mode(), err)
	}
	authorize := func(public string) {
		if err := os.WriteFile(filepath.Join(root, "authorized"), []byte(public+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authorize(public)
	var built string
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		built = fx.checkedOut(p)
		return p.Accept()
	})
	mustHold(t, fx.git(dir, "push", "platform", "main"), "Fetching submodule "+url)
	mustBe(t, filepath.Join(built, "secret/secret.txt"), []byte("this is secret\n"))
	live := fx.git(dir, "rev-parse", "HEAD")
	fx.live("private", live)

	update := func() {
		c := fx.commit(secret, "secret.txt", time.Now().String())
		fx.git(dir, "update-index", "--cacheinfo", "160000,"+c+",secret")
		fx.git(dir, "commit", "-qm", "newer")
	}
	t.Run("another host key", func(t *testing.T) {
		newHostKey()
		update()
		fx.rejected(dir, []string{"shows another host key than before", "deploy-key private --forget-hosts"}, "push", "platform", "main")
		fx.live("private", live)
		if err := fx.s.ForgetHosts("private"); err != nil {
			t.Fatal(err)
		}
		fx.git(dir, "push", "platform", "main")
	})
	t.Run("another deploy key", func(t *testing.T) {
		next, err := fx.s.DeployKey("private", true)
		if err != nil || next == public {
			t.Fatalf("%s %v", next, err)
		}
		update()
		fx.rejected(dir, []string{"is private", next}, "push", "platform", "main")
		authorize(next)
		fx.git(dir, "push", "platform", "main")
	})
	t.Run("of another app", func(t *testing.T) {
		other := fx.work("other")
		fx.embed(other, "secret", url, fx.git(secret, "rev-parse", "HEAD"))
		fx.rejected(other, []string{"is private", "gitd:other"}, "push", "platform", "main")
	})
	for _, name := range []string{"../x", ""} {
		if _, err := fx.s.DeployKey(name, true); app.CodeOf(err) != app.CodeInvalidName {
			t.Errorf("a deploy key for %q: %v", name, err)
		}
	}
}

func TestSubmodulesOfPushesThatFail(t *testing.T) {
	root := t.TempDir()
	url := gitHTTPS(t, root, nil)
	fx := start(t, func(o *Options) { o.ModulesFrom = loopback })
	folders := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d folders", want), func() bool {
			found, _ := os.ReadDir(filepath.Join(fx.bare("fails"), modulesDir))
			return len(found) == want
		})
	}
	one, two := fx.library(root, "one"), fx.library(root, "two")
	dir := fx.work("fails")
	fx.embed(dir, "one", url+"/one", fx.git(one, "rev-parse", "HEAD"))
	fx.h.setDeploy(func(context.Context, *Push) error { return app.Errorf(app.CodeInvalidInput, "", "it does not build") })
	fx.rejected(dir, []string{"Fetching", "it does not build"}, "push", "platform", "main")
	folders(0)
	fx.h.setDeploy(nil)
	fx.git(dir, "push", "platform", "main")
	folders(1)
	fx.h.setDeploy(func(context.Context, *Push) error { return app.Errorf(app.CodeInvalidInput, "", "it does not build") })
	fx.embed(dir, "two", url+"/two", fx.git(two, "rev-parse", "HEAD"))
	fx.embed(dir, "older", url+"/one", fx.commit(one, "x", "x")) // the same folder, again
	fx.rejected(dir, []string{"it does not build"}, "push", "platform", "main")
	folders(1)
	fx.h.setDeploy(nil)
	fx.git(dir, "push", "platform", "main")
	folders(2)
	fx.noModuleLeft("fails")

	// What this very push reads from is not begun anew, however large it is.
	small := start(t, func(o *Options) { o.ModulesFrom, o.MaxPack = loopback, 1500 }) // more than a pack here, less than its folder
	if err := small.s.store.ensure("fails"); err != nil {
		t.Fatal(err)
	}
	fx.commit(one, "y", "y")
	m := &modules{push: &push{Server: small.s, name: "fails", log: app.NewLog(io.Discard)}, used: map[string]bool{}}
	from, err := parseRemote(url + "/one")
	if err != nil {
		t.Fatal(err)
	}
	o, err := m.fetch(context.Background(), from, fx.git(one, "rev-parse", "HEAD~1"))
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(o.repository, "mark")
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _ = m.fetch(context.Background(), from, fx.git(one, "rev-parse", "HEAD"))
	if _, err := os.Stat(mark); err != nil {
		t.Error("what the push reads from was removed")
	}
	m.done(false)

	full := start(t, func(o *Options) { o.ModulesFrom, o.MaxPack = loopback, 1<<60 })
	dir = full.work("fails")
	full.embed(dir, "older", url+"/one", full.commit(one, "z", "z"))
	full.rejected(dir, []string{`submodule "older": the server's disk is nearly full`, "needed for fetching a submodule"}, "push", "platform", "main")
}

func TestModulesFileBomb(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("bomb")
	fx.git(dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("12", 20)+",sub")
	name := "[submodule \"" + strings.Repeat("x", 40<<10) + "\"]\n"
	for _, c := range []struct{ text, want string }{
		{name + strings.Repeat("a\n", 10_000), ".gitmodules does not say where it comes from"}, // git would say 400 MB about it
		{name + strings.Repeat("url\n", 5_000), "git config produced more than 64 MB of output for this push"},
		{strings.Repeat("#", 65<<10), `".gitmodules" is larger than 64 KB`},
	} {
		if err := os.WriteFile(filepath.Join(dir, modulesFile), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		fx.git(dir, "add", modulesFile)
		fx.git(dir, "commit", "-qm", "bomb")
		fx.rejected(dir, []string{c.want}, "push", "platform", "main")
	}
	eventually(t, "no git process is left", func() bool { return len(children(fx.bare("bomb"))) == 0 })
}
