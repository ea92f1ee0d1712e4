package procfile

import (
	"os"
	"path/filepath"
	"testing"

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
