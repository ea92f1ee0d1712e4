package procfile

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestCheckProgram: scripts from Windows are refused in words, before the kernel does without any.
func TestCheckProgram(t *testing.T) {
	app := t.TempDir()
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"start.sh": {"#!/bin/sh\n", 0o644}, "crlf.sh": {"#!/bin/sh -e\r\necho\r\n", 0o755}, "good.sh": {"#!/bin/sh\necho\n", 0o755}, "bin/tool": {"\x7fELF", 0o755}, "empty": {"", 0o755},
		"windows.exe": {"MZ\x90\x00\x03", 0o755}, "mac": {"\xcf\xfa\xed\xfe\x07", 0o755}, "sparc": {"\x7fELF" + strings.Repeat("\x00", 14) + "\x02\x00" + strings.Repeat("\x00", 40), 0o755},
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(app, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(app, name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	for command, want := range map[string]string{
		"./start.sh":            "start.sh is not executable; git update-index --chmod=+x start.sh, commit and push again",
		"exec ./start.sh $PORT": "start.sh is not executable; git update-index --chmod=+x start.sh, commit and push again",
		"./crlf.sh":             `crlf.sh has the line ends of Windows (CRLF): the interpreter /bin/sh -e\r does not exist; save it with the line ends of Unix (LF), add "crlf.sh text eol=lf" to .gitattributes, commit and push again`,
		"./windows.exe":         "windows.exe is a program for Windows; build it for Linux on this processor, or push its source",
		"./mac":                 "mac is a program for macOS; build it for Linux on this processor, or push its source",
		"./sparc":               "sparc is a program for another processor (EM_SPARC, this is " + machines[runtime.GOARCH].String() + "); build it for Linux on this processor, or push its source",
		"./good.sh --x":         "", "bin/tool": "", "./empty": "", "./made-by-the-build": "", "../outside": "", "node start.sh": "", "sh ./start.sh": "", "": "", "/bin/sh": "",
	} {
		got := ""
		if err := checkProgram(app, command); err != nil {
			got = kit.Line(err)
		}
		if got != want {
			t.Errorf("%q:\n got %s\nwant %s", command, got, want)
		}
	}
}

// TestScript: an app that is a shell script goes live, and a script beside an app of a language is that app's own.
// TestStartsIn: a Procfile that goes to the app's folder is told where the app is; a program that was pushed is started.
func TestStartsIn(t *testing.T) {
	for _, tt := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"Procfile": "web: cd api && uvicorn main:app --port $PORT\n", "api/requirements.txt": ""}, "api"},
		{map[string]string{"Procfile": "web: cd ./server/ && npm start\n", "server/package.json": "{}"}, "server"},
		{map[string]string{"Procfile": "web: cd api && ./server\n", "api/go.mod": ""}, ""},
		{map[string]string{"Procfile": "web: cd public && python3 -m http.server $PORT\n", "public/index.html": ""}, ""},
		{map[string]string{"Procfile": "web: cd api && npm start\n", "api/package.json": "{}", "package.json": "{}"}, ""},
	} {
		_, err := bptest.New(t, catalog.Procfile).Detect(Buildpack{Out: &bytes.Buffer{}}, tt.files)
		got := ""
		if err != nil {
			got = kit.Line(err)
		}
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q", tt.files, got)
		}
	}
}

func TestScript(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		start string
		err   string
	}{
		"alone":            {map[string]string{"start.sh": "#!/bin/bash\nexec ./server\n", "data.txt": ""}, "bash start.sh", ""},
		"another name":     {map[string]string{"server.sh": "#!/bin/bash\nexec ./x\n"}, "bash server.sh", ""},
		"line ends":        {map[string]string{"start.sh": "#!/bin/bash\r\n"}, "", "start.sh has the line ends of Windows (CRLF)"},
		"of a language":    {map[string]string{"start.sh": "", "package.json": "{}"}, "", "not detected"},
		"beside a program": {map[string]string{"start.sh": "", "main.py": ""}, "", "not detected"},
		"beside a site":    {map[string]string{"start.sh": "", "public/index.html": ""}, "", "not detected"},
	} {
		out := &bytes.Buffer{}
		r := bptest.New(t, catalog.Procfile)
		passed, err := r.Detect(Buildpack{Out: out}, tt.files)
		if err != nil {
			t.Fatal(err)
		}
		got, msg := "", "not detected"
		if passed {
			msg = ""
			built, err := r.Build(Buildpack{Out: out}, tt.files)
			if err != nil {
				msg = kit.Line(err)
			} else {
				got = strings.Join(append([]string{built.Processes["web"].Command}, built.Processes["web"].Arguments...), " ")
			}
		}
		if got != tt.start || !strings.HasPrefix(msg, tt.err) || tt.err == "" && msg != "" {
			t.Errorf("%s: %q %q, want %q %q", name, got, msg, tt.start, tt.err)
		}
	}
}
