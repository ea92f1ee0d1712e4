package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// monorepo is a workspace with a server, and a library that is built for it.
func monorepo(extra map[string]string) map[string]string {
	files := map[string]string{
		"package.json":              `{"name":"mono","private":true,"workspaces":["apps/*","packages/**"],"devDependencies":{"semver":"7.6.3"}}`,
		"apps/web/package.json":     `{"name":"web","version":"1.0.0","private":true,"scripts":{"build":"node -e \"require('fs').writeFileSync('built', require('lib') + require('semver').valid('4.0.0'))\"","start":"node server.js"},"dependencies":{"ms":"2.1.3","lib":"1.0.0"}}`,
		"apps/web/server.js":        "console.log(require('ms')('1h'), require('lib'), require('fs').readFileSync(__dirname + '/built', 'utf8'))",
		"apps/other/package.json":   `{"name":"other","version":"1.0.0","private":true,"scripts":{"build":"false","dev":"vite"}}`,
		"packages/a/b/package.json": `{"name":"lib","version":"1.0.0","main":"out.js","scripts":{"build":"node make.js"},"dependencies":{"ms":"2.0.0"}}`,
		"packages/a/b/make.js":      "require('fs').writeFileSync('out.js', `module.exports = '${require('ms')('2h')}'`)",
	}
	for k, v := range extra {
		files[k] = v
	}
	return files
}

var installed = regexp.MustCompile(`(?m)^(npm|pnpm|yarn|bun) (ci|install|prune|workspaces)\b`)

// TestWorkspaceMember: an app in a folder of a workspace is installed as the workspace says, built after what it depends on, and its packages are
// taken from the last build as long as nothing that decides on them changes.
func TestWorkspaceMember(t *testing.T) {
	for name, manager := range map[string]map[string]string{
		"npm":    nil,
		"pnpm":   {"package.json": `{"name":"mono","private":true,"packageManager":"pnpm@9.15.4","devDependencies":{"semver":"7.6.3"}}`, "pnpm-workspace.yaml": "packages: ['apps/*', \"packages/**\"]\nlinkWorkspacePackages: true\n", ".npmrc": "link-workspace-packages=true\nshamefully-hoist=true\n"},
		"yarn":   {"package.json": `{"name":"mono","private":true,"packageManager":"yarn@1.22.22","workspaces":["apps/*","packages/a/*"],"devDependencies":{"semver":"7.6.3"}}`},
		"yarn 4": {"package.json": `{"name":"mono","private":true,"packageManager":"yarn@4.5.3","workspaces":["apps/*","packages/a/*"],"devDependencies":{"semver":"7.6.3"}}`},
		"bun":    {"package.json": `{"name":"mono","private":true,"packageManager":"bun@1.3.5","workspaces":["apps/*","packages/a/*"],"devDependencies":{"semver":"7.6.3"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			b, out := tools(t)
			r := bptest.New(t, catalog.NodeJS)
			r.Folder = "apps/web"
			client(t, r)
			files := monorepo(manager)
			const want = "3600000 7200000 72000004.0.0"
			check := func(want string) {
				t.Helper()
				out.Reset()
				built, err := r.Build(b, files)
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if web := built.Processes["web"]; web.Command != "node" || !slices.Equal(web.Arguments, []string{"server.js"}) {
					t.Errorf("starts by %q %q", web.Command, web.Arguments)
				}
				if r.Reused("modules") { // the platform keeps its content
					return
				}
				c := exec.Command(b.Root+"/bin/node", "server.js")
				c.Dir = filepath.Join(r.App, "apps/web")
				if got, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != want {
					t.Errorf("%q %v, want %q\n%s", got, err, want, out)
				}
				if kit.Exists(r.App, "node_modules/semver/package.json") {
					t.Error("packages for development are in the image")
				}
			}
			check(want)
			files["apps/web/server.js"] += "\n"
			files["apps/web/package.json"] = strings.Replace(files["apps/web/package.json"], `"private":true,`, `"description":"d","private":true,`, 1)
			check(want)
			if said := out.String(); !r.Reused("modules") || !strings.Contains(said, "Using cached dependencies") || installed.MatchString(said) {
				t.Errorf("nothing was changed, but packages are installed:\n%s", said)
			}
			if name != "npm" { // what decides on the packages is told in the same way for all
				return
			}
			files["apps/web/package.json"] = strings.Replace(files["apps/web/package.json"], `"ms":"2.1.3"`, `"ms":"2.1.2"`, 1)
			check(want)
			if said := out.String(); r.Reused("modules") || strings.Contains(said, "Using cached dependencies") {
				t.Errorf("a version was changed, but packages are taken from the cache:\n%s", said)
			}
		})
	}
}

// TestWorkspaceRoot: an app in a folder that its workspace does not list is one of its own.
func TestWorkspaceRoot(t *testing.T) {
	for _, tt := range []struct {
		name, dir string
		files     map[string]string
		want      string
	}{
		{"npm", "apps/web", map[string]string{"package.json": `{"workspaces":["apps/*"]}`, "apps/web/package.json": "{}"}, "."},
		{"an object", "apps/web", map[string]string{"package.json": `{"workspaces":{"packages":["./apps/*/"]}}`, "apps/web/package.json": "{}"}, "."},
		{"pnpm", "a/b/c", map[string]string{"package.json": "{}", "pnpm-workspace.yaml": "catalog:\n  x: 1\npackages:\n- 'a/**' # all\n", "a/b/c/package.json": "{}"}, "."},
		{"another folder", "web", map[string]string{"package.json": `{"workspaces":["apps/*"]}`, "web/package.json": "{}"}, "web"},
		{"taken out", "apps/web", map[string]string{"package.json": `{"workspaces":["apps/*","!apps/web"]}`, "apps/web/package.json": "{}"}, "apps/web"},
		{"no workspace", "web", map[string]string{"package.json": `{}`, "web/package.json": "{}"}, "web"},
		{"a broken root", "web", map[string]string{"package.json": `{`, "web/package.json": "{}"}, "web"},
	} {
		dir := t.TempDir()
		for name, text := range tt.files {
			file := filepath.Join(dir, name)
			if err := mkdir(filepath.Dir(file)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := workspaceRoot(filepath.Join(dir, tt.dir)); got != filepath.Join(dir, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// TestStandaloneMember: the server that Next.js makes is below the place that the app has in the workspace.
func TestStandaloneMember(t *testing.T) {
	root := t.TempDir()
	app := filepath.Join(root, "apps/web")
	for _, f := range []string{".next/standalone/apps/web/server.js", ".next/static/a.js", "public/b.png"} {
		file := filepath.Join(app, f)
		if err := mkdir(filepath.Dir(file)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &Package{Dependencies: map[string]string{"next": "15"}, Scripts: map[string]string{"build": "next build", "start": "next start"}}
	b := &build{app: app, root: root, pkg: p, rootPkg: &Package{}}
	web, err := b.start()
	if err != nil || !slices.Equal(web.Arguments, []string{"-c", "HOSTNAME=0.0.0.0 exec node .next/standalone/apps/web/server.js"}) {
		t.Errorf("%v %v", web, err)
	}
	for _, f := range []string{".next/static/a.js", "public/b.png"} {
		if !kit.IsFile(app, ".next/standalone/apps/web", f) {
			t.Errorf("%s is missing beside the server", f)
		}
	}
}

// TestAskedNPM: where the app says which npm it takes.
func TestAskedNPM(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", `{"engines":{"npm":"10.x"}}`: "10.x", `{"engines":{"npm":"please use yarn"}}`: "", `{"engines":{"npm":"*"}}`: "", `{"packageManager":"npm@9.0.0"}`: "", `{"volta":{"npm":"9.1.0"}}`: "9.1.0",
		`{"devEngines":{"packageManager":{"name":"npm","version":"^10.2"}},"engines":{"npm":">=8"}}`: "^10.2",
	} {
		p := &Package{}
		if err := unmarshal(text, p); err != nil {
			t.Fatal(err)
		}
		if got := p.askedNPM(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if inRange("10.x", "11.2.0") || !inRange(">=8", "11.2.0") || !inRange("x y", "1.0.0") {
		t.Error("ranges")
	}
}
