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

// An app may be a handler of requests alone, without a server around it: its file exports what has a method fetch, as Hono's apps do, and its platform
// serves that.

// handlerNames are the files in which platforms look for it, without their endings.
var handlerNames = []string{"app", "index", "server", "main", "src/app", "src/index", "src/server", "src/main"}

var (
	exportsObject = pattern.New(`(?m)^export default \{[^}]*\bfetch\b`)
	exportsApp    = pattern.New(`(?m)^export default \w+;?\s*$|^export \{[^}]*\bas default\b`)
	importsHono   = pattern.New(`\bfrom\s*["']hono(?:/tiny|/quick)?["']`)
)

// handlerFile is the file that exports the app as a handler; "" for none.
func (p *Package) handlerFile(app string) string {
	if p.startScript() != "" {
		return ""
	}
	if file, _ := p.elsewhereOnly(app); file != "" { // it may ask for more of its platform
		return ""
	}
	var files []string
	if filepath.IsLocal(p.Main) {
		files = append(files, p.Main)
	}
	for _, name := range handlerNames {
		for _, ext := range []string{".js", ".mjs", ".ts", ".mts"} {
			files = append(files, name+ext)
		}
	}
	for _, f := range files {
		text := kit.Text(app, f)
		if text == "" {
			continue
		}
		if listens.MatchString(text) {
			return ""
		}
		if exportsObject.MatchString(text) || p.has("hono") && importsHono.MatchString(text) && exportsApp.MatchString(text) {
			return f
		}
	}
	return ""
}

// handlerProcess serves an app that is a handler alone; nil for other apps. The layers get the one with the server.
func (b *build) handlerProcess(layers *[]libcnb.LayerContributor) (*libcnb.Process, error) {
	file := b.pkg.handlerFile(b.app)
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
