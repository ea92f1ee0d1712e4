package procfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// checkProgram finds out why the kernel would not start a file of the app that a command names, as files from Windows are: one without the right to
// be executed, or a script whose interpreter's name ends in a carriage return. Its errors say what to do.
func checkProgram(app, command string) error {
	words, ok := plainWords(command)
	if !ok {
		words = strings.Fields(command)
	}
	if len(words) > 1 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) == 0 || !strings.Contains(words[0], "/") || !filepath.IsLocal(words[0]) {
		return nil // a program of the PATH, or none of the app's
	}
	name := filepath.Clean(words[0])
	file := filepath.Join(app, name)
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return nil // a later buildpack, or the build, may make it
	}
	if info.Mode()&0o111 == 0 {
		return kit.Errorf("git update-index --chmod=+x "+name+", commit and push again", "%s is not executable", name)
	}
	return checkScript(app, name)
}

// checkScript finds out why the kernel would not start a file of the app, by how it begins.
func checkScript(app, name string) error {
	f, err := os.Open(filepath.Join(app, name))
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 256) // more than the kernel reads of the line
	n, _ := f.Read(head)
	if err := checkBinary(name, head[:n]); err != nil {
		return err
	}
	line, _, found := bytes.Cut(head[:n], []byte("\n"))
	if found && bytes.HasPrefix(line, []byte("#!")) && bytes.HasSuffix(line, []byte("\r")) {
		return kit.Errorf("save it with the line ends of Unix (LF), add \""+name+" text eol=lf\" to .gitattributes, commit and push again",
			"%s has the line ends of Windows (CRLF): the interpreter %s\\r does not exist", name, strings.TrimSpace(string(line[2:])))
	}
	return nil
}
