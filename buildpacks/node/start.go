package node

import (
	"regexp"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

var runScript = regexp.MustCompile(`^(?:npm|pnpm|yarn)(?: run)? ([A-Za-z0-9:._-]+)$`)

// command0 looks through scripts that only call another script, so that neither npm nor a shell stands between the platform
// and the app.
func (b *build) command0(script string) string {
	for range 5 {
		m := runScript.FindStringSubmatch(script)
		if m == nil || b.pkg.Scripts[m[1]] == "" || b.pkg.Scripts["pre"+m[1]] != "" {
			break
		}
		script = strings.TrimSpace(b.pkg.Scripts[m[1]])
	}
	return script
}

// start finds out how the app starts: the start script, run as npm would but without npm; else main, else a file with one of
// the usual names. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if s := b.pkg.startScript(); s != "" {
		s = b.command0(s)
		if pre := strings.TrimSpace(b.pkg.Scripts["prestart"]); pre != "" {
			s = "(" + pre + ") && exec " + s
			return &libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", s}, Direct: true}, nil
		}
		p := procfile.Start("web", s)
		return &p, nil
	}
	files := serverFiles
	if b.pkg.Main != "" {
		files = append([]string{b.pkg.Main, b.pkg.Main + ".js", strings.TrimSuffix(b.pkg.Main, "/") + "/index.js"}, files...)
	}
	for _, f := range files {
		if kit.IsFile(b.app, f) {
			return &libcnb.Process{Type: "web", Command: "node", Arguments: []string{f}, Direct: true}, nil
		}
	}
	procs, err := procfile.Read(b.app)
	if err != nil || len(procs) > 0 {
		return nil, nil // its own buildpack tells what is wrong with it
	}
	return nil, kit.Errorf(`add "start": "node server.js" to the scripts in package.json`,
		"nothing says how the app starts: no start script, no main, no server.js, index.js or app.js, no Procfile")
}
