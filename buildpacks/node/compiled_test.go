package node

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestCompiledOnce: packages that are compiled, which may take minutes, are compiled once, although the image gets them without those for development.
func TestCompiledOnce(t *testing.T) {
	for _, tt := range []struct{ manager, install, asks string }{
		{"npm@11.6.0", "npm install", "npm prune"},
		{"yarn@1.22.22", "yarn install", "--ignore-scripts"},
	} {
		t.Run(tt.manager, func(t *testing.T) {
			b, out := tools(t)
			r := bptest.New(t, catalog.NodeJS)
			client(t, r)
			if _, err := r.Build(b, map[string]string{
				"package.json": `{"packageManager":"` + tt.manager + `","scripts":{"build":"semver 1.2.3","start":"node server.js"},"dependencies":{"unix-dgram":"2.0.6"},"devDependencies":{"semver":"7.6.3"}}`,
				"server.js":    "",
			}); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			installed := 0
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(line, tt.install+" --") && !strings.Contains(line, "--ignore-scripts") {
					installed++
				}
			}
			if installed != 1 || !strings.Contains(out.String(), tt.asks) {
				t.Errorf("%d times %q, want 1, and %q: %s", installed, tt.install, tt.asks, out)
			}
			c := exec.Command(b.Root+"/bin/node", "-p", "typeof require('unix-dgram').createSocket + require('fs').existsSync('node_modules/semver')")
			c.Dir = r.App
			if got, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != "functionfalse" {
				t.Errorf("%q %v\n%s", got, err, out)
			}
		})
	}
}
