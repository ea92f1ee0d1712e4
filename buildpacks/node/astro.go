package node

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// An app of Astro may have the adapter of a platform that takes functions. It is built with the one for Node.js, or without one where all its pages are
// made by the build.

var astroConfigs = []string{"astro.config.mjs", "astro.config.ts", "astro.config.js", "astro.config.mts", "astro.config.cjs", "astro.config.cts"}

// astroSources are the names' ends of files that may ask for a server.
var astroSources = []string{".astro", ".ts", ".js", ".mjs", ".tsx", ".jsx", ".md", ".mdx"}

var (
	// astroAdapter finds the adapter that a configuration imports.
	astroAdapter = pattern.New(`(?m)^\s*import\s[^;\n]*["'](@astrojs/(?:vercel|netlify|cloudflare|deno)(?:/[\w-]+)?)["']`)
	// onDemand finds what needs a server, in the configuration or in a page.
	onDemand = pattern.New(`(?m)^[^/\n]*\boutput["']?\s*:\s*["'](?:server|hybrid)["']|\bprerender\s*=\s*false\b|\bserver:defer\b|["']astro:actions["']`)
)

// astroVersions are the versions of the adapter for Node.js by the oldest Astro that each is for, the newest first.
var astroVersions = []struct{ astro, adapter string }{
	{"8", "latest"}, {"7.2.1", "11"}, {"7", "11.1.2"}, {"6.3", "10"}, {"6", "10.0.6"}, {"5.17.3", "9"}, {"5.14.3", "9.5.3"}, {"5.7", "9.4.5"}, {"5.3", "9.4.2"}, {"5", "9.0.3"},
	{"4.2", "8"}, {"4", "7"}, {"3", "6"}, {"2", "5"},
}

const astroForNode = "@astrojs/node"

// astroServer is where Astro's adapter for Node.js leaves the server.
const astroServer = "dist/server/entry.mjs"

// astroHook answers imports of the adapters, by their names and by their files, with another.
const astroHook = `export async function resolve(specifier, context, next) {
	if (/^@astrojs\/(vercel|netlify|cloudflare|deno)(\/[\w-]+)?$/.test(specifier) || /\/@astrojs\/(vercel|netlify|cloudflare|deno)\/dist\/[^?]*\.js($|\?)/.test(specifier)) return { url: %q, shortCircuit: true };
	return next(specifier, context);
}
`

// astroPages takes the place of an adapter where there are pages alone.
const astroPages = "export default () => ({ name: 'pages', hooks: {} });\n"

// astroNode is the adapter for Node.js. The server of it is told by its place: the app does not list the package.
const astroNode = `import node from %q;
export default () => {
	const adapter = node({ mode: 'standalone' });
	const done = adapter.hooks['astro:config:done'];
	adapter.hooks['astro:config:done'] = (o) => done({ ...o, setAdapter: (a) => o.setAdapter({ ...a, serverEntrypoint: %q }) });
	return adapter;
};
`

// elsewhereAstro finds the adapter of another platform in an app of Astro, and the file that says so.
func (b *build) elsewhereAstro() (adapter, file string) {
	if !b.pkg.has("astro") || b.pkg.has(astroForNode) {
		return "", ""
	}
	for _, file := range astroConfigs {
		if m := astroAdapter.FindStringSubmatch(kit.Text(b.app, file)); m != nil {
			return m[1], file
		}
	}
	return "", ""
}

// astroNeedsServer tells whether something of the app is made at the time of a request.
func astroNeedsServer(app, config string) bool {
	if onDemand.MatchString(kit.Text(app, config)) {
		return true
	}
	found := false
	_ = filepath.WalkDir(filepath.Join(app, "src"), func(path string, d fs.DirEntry, err error) error { // what cannot be read is not there
		if err == nil && d.Type().IsRegular() && slices.Contains(astroSources, filepath.Ext(path)) && onDemand.MatchString(kit.Text(path)) {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found
}

// astroForHere sets what makes Astro build for here, and returns what is to be done when it has. Nothing of the app is changed.
func (b *build) astroForHere(env kit.Env) (after func() error, err error) {
	after = func() error { return nil }
	adapter, config := b.elsewhereAstro()
	if adapter == "" {
		return after, nil
	}
	tools, err := b.cache.Dir("node-tools")
	if err != nil {
		return nil, err
	}
	dir, text := filepath.Join(tools, "astro-pages"), astroPages
	server := astroNeedsServer(b.app, config)
	kit.Say(b.Out, "Building %s (%s uses %s)", kit.Pick(server, "a server for Node.js", "pages"), config, adapter)
	if server {
		want := astroVersion(moduleVersion(b.app, "astro"))
		dir = filepath.Join(tools, folderName(astroForNode+"@"+want))
		at := filepath.Join(dir, "node_modules", astroForNode)
		if !kit.IsFile(at, "package.json") {
			if err := b.fetchTo(dir, astroForNode, astroForNode, want, "the version of astro"); err != nil {
				return nil, err
			}
		}
		peer := filepath.Join(dir, "node_modules", "astro")
		if err := os.RemoveAll(peer); err != nil {
			return nil, err
		}
		if err := os.Symlink(filepath.Join(b.app, "node_modules", "astro"), peer); err != nil {
			return nil, err
		}
		text = fmt.Sprintf(astroNode, fileURL(filepath.Join(at, "dist", "index.js")), filepath.Join(at, "dist", "server.js"))
		after = func() error { return b.besideAstro(filepath.Join(dir, "node_modules")) }
	}
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	for file, text := range map[string]string{"adapter.mjs": text, "hooks.mjs": fmt.Sprintf(astroHook, fileURL(filepath.Join(dir, "adapter.mjs"))),
		"import.mjs": fmt.Sprintf("import { register } from 'node:module';\nregister(%q);\n", fileURL(filepath.Join(dir, "hooks.mjs")))} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	env["NODE_OPTIONS"] = strings.TrimSpace(env["NODE_OPTIONS"] + " --import=" + fileURL(filepath.Join(dir, "import.mjs")))
	return after, nil
}

// besideAstro puts the packages of the adapter beside the server that was built: it loads them when it runs.
func (b *build) besideAstro(modules string) error {
	if !kit.IsFile(b.app, astroServer) {
		return nil
	}
	to := filepath.Join(b.app, filepath.Dir(astroServer), "node_modules")
	return kit.CopyTree(modules, to, func(rel string) bool {
		return rel == "astro" || rel == ".bin" || rel == ".package-lock.json"
	})
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

// astroVersion is the version of the adapter for an Astro.
func astroVersion(astro string) string {
	for _, v := range astroVersions {
		if !olderThan(astro, v.astro) {
			return v.adapter
		}
	}
	return astroVersions[len(astroVersions)-1].adapter
}

// olderThan compares two versions by their numbers, without what is said of a release before; one that is no version is 0.
func olderThan(a, b string) bool {
	numbers := func(text string) semver.Version {
		v, err := semver.NewVersion(text)
		if err != nil {
			return semver.Version{}
		}
		return *semver.New(v.Major(), v.Minor(), v.Patch(), "", "")
	}
	x, y := numbers(a), numbers(b)
	return x.LessThan(&y)
}
