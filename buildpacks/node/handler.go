package node

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// An app may be a handler of requests alone, without a server around it: its file exports what has a method fetch, as Hono's apps do, or what takes a request
// and a response of Node.js, as Express' do, and its platform serves that.

// handlerNames are the files in which platforms look for it, without their endings.
var handlerNames = []string{"app", "index", "server", "main", "src/app", "src/index", "src/server", "src/main"}

// apiHandler is where Vercel looks for a function. It is an app's only program where there are no pages beside it.
const apiHandler = "api/index"

var (
	exportsObject  = pattern.New(`(?m)^export default \{[^}]*\bfetch\b`)
	exportsApp     = pattern.New(`(?m)^export default \w+;?\s*$|^export \{[^}]*\bas default\b`)
	exportsCommon  = pattern.New(`(?m)^(?:module\.)?exports\s*=\s*\w+;?\s*$`)
	exportsNode    = pattern.New(`(?m)^(?:export default|module\.exports\s*=)\s*(?:async\s*)?(?:function\s*\w*\s*)?\(\s*_?req(?:uest)?\b[^,)]*,\s*(?:res|reply|response)\b`)
	importsHono    = pattern.New(`\bfrom\s*["']hono(?:/tiny|/quick)?["']`)
	importsExpress = pattern.New(`\bfrom\s*["']express["']|\brequire\(\s*["']express["']\s*\)`)
)

// handlerFile is the file that exports the app as a handler, and whether that is one of Node.js' own requests; "" for none.
func (p *Package) handlerFile(app string) (file string, ofNode bool) {
	if p.startScript() != "" {
		return "", false
	}
	if file, _ := p.elsewhereOnly(app); file != "" { // it may ask for more of its platform
		return "", false
	}
	for _, f := range p.handlerFiles(app) {
		text := kit.Text(app, f)
		if text == "" {
			continue
		}
		if listens.MatchString(text) { // it may take the app from a file that only exports it
			return "", false
		}
		if file != "" {
			continue
		}
		fetches := exportsObject.MatchString(text) || p.has("hono") && importsHono.MatchString(text) && exportsApp.MatchString(text)
		ofNode = !fetches && (exportsNode.MatchString(text) || p.has("express") && importsExpress.MatchString(text) && (exportsApp.MatchString(text) || exportsCommon.MatchString(text)))
		if fetches || ofNode {
			file = f
		}
	}
	return file, ofNode
}

// handlerFiles are where a handler may be.
func (p *Package) handlerFiles(app string) (files []string) {
	if filepath.IsLocal(p.Main) {
		files = append(files, p.Main)
	}
	names := handlerNames
	if !p.HasBuild() && !kit.IsFile(app, "index.html") && !kit.IsFile(app, "public/index.html") {
		names = append(slices.Clone(names), apiHandler)
	}
	for _, name := range names {
		for _, ext := range []string{".js", ".mjs", ".cjs", ".ts", ".mts"} {
			files = append(files, name+ext)
		}
	}
	return files
}

// handlerProcess serves an app that is a handler alone; nil for other apps. The layers get the one with the server.
func (b *build) handlerProcess(layers *[]libcnb.LayerContributor) (*libcnb.Process, error) {
	file, _ := b.pkg.handlerFile(b.app)
	if file == "" || ownServer(b.app) != nil || b.startsByBun() || !inRange(">=20.16.0", b.node.version) {
		return nil, nil
	}
	if dir, _ := b.pkg.memberStart(b.app); dir != "" || procfile.HasWeb(b.app) {
		return nil, nil
	}
	source, err := b.scriptSource(&functions.Found{Source: file})
	if err != nil {
		return nil, err
	}
	l := library{packages: "srvx", name: "srvx"}
	assets, err := assetsKey(l)
	if err != nil {
		return nil, err
	}
	layer, err := kit.OpenLayer(b.ctx, "handler")
	if err != nil {
		return nil, err
	}
	kit.Say(b.Out, "%s exports the app without a server: srvx serves it", file)
	*layers = append(*layers, layer)
	args := slices.Concat(typeScriptFlags(source), []string{filepath.Join(layer.Path, "node_modules", l.name, "bin", "srvx.mjs"), "--prod", "./" + strings.TrimPrefix(source, "./")})
	p := &libcnb.Process{Type: "web", Command: "node", Arguments: args, Direct: true}
	if reuse, err := layer.Renew(kit.Key("1", assets)); err != nil || reuse {
		return p, err
	}
	if err := b.installLocked(layer.Path, l.packages); err != nil {
		return nil, err
	}
	return p, kit.WriteSBOM(layer.Layer, lockPackages("npm", kit.Text(layer.Path, "package-lock.json")))
}
