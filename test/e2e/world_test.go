package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gitd-io/gitd/internal/dns/dnstest"
	"github.com/rogpeppe/go-internal/testscript"
)

// world is what one script has: a data directory, a server on it now and then, and what runs in the background.
type world struct {
	tb      testing.TB
	base    string // short, for the sockets in it; holds data and log
	data    string // --data
	log     string // what the servers wrote to stderr, one after the other
	server  *server
	ssh     string // address; kept over restarts, as remotes name it
	http    string
	https   string
	domain  string // apps answer under APP.domain
	jobs    map[string]*job
	loads   map[string]*load
	clock   *clock // of the servers; nil: the machine's
	dns     *dnstest.Resolver
	pebble  *pebble
	sockets []*os.File // for SSH and HTTP, handed over to the server; nil: it makes its own

	metrics    string      // address; "" for none
	collector  *collector  // of traces; nil for none
	prometheus *prometheus // nil for none

	// On a cluster.
	namespace string
	registry  string // port of the server's own, kept over restarts
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// inherited are the variables that commands of a script see; newWorld sets them, the script may change them.
var inherited = []string{
	"PATH", "HOME", "WORK", "TMPDIR", "XDG_CACHE_HOME", "GORACE", "GITD_PARTS", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL",
	"GIT_TERMINAL_PROMPT", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "DATA", "KEY", "IMAGES", "SSH_PORT", "HTTP", "HTTPS", "DNS", "REMOTE", "LC_ALL",
	"KUBECONFIG", "KUBECTL", "NAMESPACE", "INGRESS", "DOMAIN", clusterVariable,
}

// newWorld is testscript's Setup.
func newWorld(env *testscript.Env) error {
	base, err := scratch()
	if err != nil {
		return err
	}
	w := &world{
		tb: env.T().(testing.TB), base: base, data: filepath.Join(base, "data"), log: filepath.Join(base, "serve.log"),
		domain: "localhost", jobs: map[string]*job{}, loads: map[string]*load{},
	}
	env.Values[worldKey{}] = w
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, "keys"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(gitConfig), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "ssh_config"), []byte(fmt.Sprintf(sshConfig, home)), 0o600); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	for k, v := range map[string]string{
		"HOME": home, "XDG_CACHE_HOME": cache, "GITD": gitd, "GITD_PARTS": partsDir, "DATA": w.data, "LC_ALL": "C.UTF-8", "GORACE": os.Getenv("GORACE"),
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": filepath.Join(home, ".gitconfig"), "GIT_TERMINAL_PROMPT": "0",
		"SSH_CONFIG": filepath.Join(home, "ssh_config"),
	} {
		env.Setenv(k, v)
	}
	env.Defer(w.cleanUp)
	if theCluster != nil {
		env.Setenv(clusterVariable, os.Getenv(clusterVariable))
		return theCluster.openNamespace(w, env)
	}
	return nil
}

const gitConfig = `[user]
	name = Ada
	email = ada@example.org
[init]
	defaultBranch = main
[push]
	default = simple
[advice]
	detachedHead = false
[core]
	autocrlf = false
`

// sshConfig keeps the keys and the configuration of the person who runs the tests out of them. The host's key is taken at first
// sight and must stay the same from then on, over restarts of the server as well.
const sshConfig = `Host *
	BatchMode yes
	IdentitiesOnly yes
	IdentityAgent none
	LogLevel ERROR
	PreferredAuthentications publickey
	StrictHostKeyChecking accept-new
	UserKnownHostsFile %s/known_hosts
	ConnectTimeout 30
`

// cleanUp leaves nothing behind, however the script ended, and says what the server left.
func (w *world) cleanUp() {
	for _, l := range w.loads {
		l.stop()
	}
	for _, j := range w.jobs {
		j.kill()
	}
	if w.server != nil {
		if err := w.server.stop(); err != nil {
			w.tb.Errorf("stopping the server at the end: %v", err)
		}
		out, _ := os.ReadFile(w.server.output)
		w.keepLog(out)
		w.server = nil
	}
	if err := checkLog(w.log); err != nil {
		w.tb.Error(err)
	}
	if w.tb.Failed() {
		w.tb.Logf("the server's log ends with:\n%s", tail(w.log, 60))
	}
	if _, err := os.Stat(w.data); err == nil {
		if out, err := w.purge(); err != nil {
			w.tb.Errorf("gitd purge: %v\n%s", err, out)
		}
	}
	if theCluster != nil && w.namespace != "" {
		theCluster.closeNamespace(w)
	}
	if left := belongingTo(w.data); len(left) > 0 {
		w.tb.Errorf("processes were left behind after gitd purge:\n%s", describe(left))
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	if left := leftovers(w.data); len(left) > 0 {
		w.tb.Errorf("gitd purge left behind:\n%s", strings.Join(left, "\n"))
		unmount(mountsUnder(w.data))
	}
	if w.tb.Failed() && os.Getenv("GITD_E2E_KEEP") != "" {
		w.tb.Logf("kept: %s", w.base)
		return
	}
	if err := os.RemoveAll(w.base); err != nil {
		w.tb.Error(err)
	}
}

func (w *world) purge() ([]byte, error) { return purge(w.data) }

// purge has gitd give up everything that it holds of the machine for a data directory.
func purge(data string) ([]byte, error) {
	c := exec.Command(gitd, "purge", "--data", data, "--yes")
	c.Env = serverEnv()
	return c.CombinedOutput()
}

// tail returns the last n lines of a file.
func tail(file string, n int) string {
	b, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// checkLog fails on what must never be in a server's log.
func checkLog(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil // no server was started
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "goroutine 1 ["} {
		if i := strings.Index(string(b), bad); i >= 0 {
			return fmt.Errorf("the server's log has %q:\n%s", bad, string(b[i:min(len(b), i+6000)]))
		}
	}
	return nil
}
