package gittest

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ServeHTTPS serves the repositories below root over HTTPS at an address, and returns its URL. what looks at each request first; true ends it.
func ServeHTTPS(t *testing.T, address, root string, what func(w http.ResponseWriter, r *http.Request) bool) (url string) {
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

// Library makes a repository below root that others use as a submodule.
func (u *User) Library(root, name string) (dir string) {
	u.T.Helper()
	dir = filepath.Join(root, name)
	u.Git("/", "init", "-q", dir)
	u.Commit(dir, name+".txt", "this is "+name+"\n")
	return dir
}

// Embed adds a submodule by hand: git itself would fetch it.
func (u *User) Embed(dir, path, url, commit string) {
	u.T.Helper()
	u.Git(dir, "config", "-f", ".gitmodules", "submodule."+path+".path", path)
	u.Git(dir, "config", "-f", ".gitmodules", "submodule."+path+".url", url)
	u.Git(dir, "add", ".gitmodules")
	u.Git(dir, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil { // else it counts as removed
		u.T.Fatal(err)
	}
	u.Git(dir, "commit", "-qm", "add submodule "+path)
}
