package node

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestPnpmLooksForNoOther: pnpm 12, a program of its own, runs as the version that packageManager names. It asks the registry for nothing of
// itself, so that a registry without the programs of all platforms is enough.
func TestPnpmLooksForNoOther(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	registry, err := url.Parse(r.Env["npm_config_registry"])
	if err != nil {
		t.Fatal(err)
	}
	front := httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(registry) }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.UserAgent(), "pnpm/") && strings.HasPrefix(req.URL.Path, "/@pnpm/") {
			http.NotFound(w, req)
			return
		}
		front.ServeHTTP(w, req)
	}))
	defer srv.Close()
	r.Env["npm_config_registry"], r.Env["pnpm_config_registry"] = srv.URL+"/", srv.URL+"/"

	built, err := r.Build(b, map[string]string{
		"package.json": `{"packageManager":"pnpm@12.21.0","scripts":{"build":"pnpm run make","make":"node -e \"require('fs').writeFileSync('made', '1')\"","start":"node server.js"},"dependencies":{"ms":"2.1.3"}}`, "server.js": "",
	})
	if err != nil || strings.Contains(out.String(), "WARN") {
		t.Fatalf("%v\n%s", err, out)
	}
	if web := built.Processes["web"]; web.Command != "node" || strings.Join(web.Arguments, "|") != "server.js" {
		t.Errorf("starts by %q %q", web.Command, web.Arguments)
	}
	c := exec.Command(b.Root+"/bin/node", "-p", "require('ms')('1h') + require('fs').readFileSync('made', 'utf8')")
	c.Dir = r.App
	if got, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != "36000001" {
		t.Errorf("%q %v\n%s", got, err, out)
	}
}
