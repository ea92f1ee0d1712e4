package procfile

import (
	"debug/elf"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// script is the shell script that an app of nothing else is started by; "" for none. Beside files of a language it is that language's buildpack that says
// what is started.
func script(app string) string {
	if kit.OtherLanguage(app).Name != "" || kit.HasManifest(app) {
		return ""
	}
	for _, pattern := range []string{"*/index.html", "Staticfile", "static.json", "hugo.*", "config.toml", "book.toml", "mkdocs.yml", "conf.py", "*.go", "*.py", "*.js", "*.mjs", "*.ts", "*.rb", "*.php", "*.rs", "*.java"} {
		if found, _ := filepath.Glob(filepath.Join(app, pattern)); len(found) > 0 { // constant patterns: cannot fail
			return ""
		}
	}
	for _, name := range []string{"start.sh", "run.sh", "app.sh", "server.sh", "serve.sh", "web.sh", "main.sh"} {
		if kit.IsFile(app, name) {
			return name
		}
	}
	return ""
}

var goesTo = pattern.New(`^cd +["']?(?:\./)?([\w.-]+)/?["']? *(?:&&|;) *(?:exec +)?(\S*)`)

// startsIn is the folder that web goes to before it starts an app of which all files that say how it is built are there; "" for none.
func startsIn(app string, procs []Process) string {
	if kit.OtherLanguage(app).Name != "" || kit.HasManifest(app) {
		return ""
	}
	for _, p := range procs {
		m := goesTo.FindStringSubmatch(p.Command)
		if m == nil || p.Type != "web" || m[1] == ".." || strings.Contains(m[2], "/") { // a program that was pushed
			continue
		}
		if kit.Manifest(filepath.Join(app, m[1])) != "" {
			return m[1]
		}
	}
	return ""
}

// machines are what ELF calls the processors that gitd runs on.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkBinary tells a program that this machine cannot run: head is the beginning of its file.
func checkBinary(name string, head []byte) error {
	const next = "build it for Linux on this processor, or push its source"
	starts := func(magic string) bool { return len(head) > len(magic) && string(head[:len(magic)]) == magic }
	switch {
	case starts("MZ"):
		return kit.Errorf(next, "%s is a program for Windows", name)
	case starts("\xcf\xfa\xed\xfe"), starts("\xca\xfe\xba\xbe"):
		return kit.Errorf(next, "%s is a program for macOS", name)
	case starts("\x7fELF") && len(head) > 20:
		want := machines[runtime.GOARCH]
		if m := elf.Machine(uint16(head[18]) | uint16(head[19])<<8); want != 0 && m != want {
			return kit.Errorf(next, "%s is a program for another processor (%s, this is %s)", name, m, want)
		}
	}
	return nil
}
