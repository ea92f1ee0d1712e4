package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// source is a copy of an app's source in which one line can be changed again and again.
type source struct {
	dir           string
	file          string // the file with the line
	before, after string // what stands around the changing word
}

// greeting is the word in a string literal, or in a page, that a change replaces.
var greeting = regexp.MustCompile(`(?i)(["'>` + "`" + `][^"'` + "`" + `\n]*)\b(hello|build-0)\b`)

// newSource copies the tree at from.
func (b *bench) newSource(name, from string) (*source, error) {
	s := &source{dir: filepath.Join(b.dir, "source", name)}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.CopyFS(s.dir, os.DirFS(from)); err != nil {
		return nil, fmt.Errorf("copying %s: %w", from, err)
	}
	for _, f := range []string{"main.go", "server.js", "index.js", "app.js", "src/index.js", "src/server.js",
		"server.ts", "main.ts", "app.py", "config.ru", "public/index.php", "src/main.rs", "src/main/java/shop/Main.java", "index.html"} {
		text, err := os.ReadFile(filepath.Join(s.dir, f))
		if err != nil {
			continue
		}
		if m := greeting.FindSubmatchIndex(text); m != nil {
			s.file, s.before, s.after = f, string(text[:m[4]]), string(text[m[5]:])
			return s, nil
		}
	}
	return nil, fmt.Errorf("no line to change found in %s: no string with the word hello", from)
}

// change puts another word into the line.
func (s *source) change(word string) error {
	return os.WriteFile(filepath.Join(s.dir, s.file), []byte(s.before+word+s.after), 0o644)
}

// write adds or replaces a file.
func (s *source) write(name, content string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o644)
}

var gitEnv = []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
	"GIT_AUTHOR_NAME=bench", "GIT_AUTHOR_EMAIL=bench@localhost", "GIT_COMMITTER_NAME=bench", "GIT_COMMITTER_EMAIL=bench@localhost"}

func (b *bench) git(s *source, args ...string) (string, error) {
	return b.command(s.dir, append(gitEnv, "GIT_SSH_COMMAND="+b.server.sshCommand()), append([]string{"git"}, args...)...)
}

// commit commits everything, making the repository if there is none.
func (b *bench) commit(s *source) error {
	if _, err := os.Stat(filepath.Join(s.dir, ".git")); errors.Is(err, os.ErrNotExist) {
		if _, err := b.git(s, "init", "-q", "-b", "main"); err != nil {
			return err
		}
	}
	if _, err := b.git(s, "add", "-A"); err != nil {
		return err
	}
	out, err := b.git(s, "commit", "-q", "-m", "change")
	if err != nil && strings.Contains(out, "nothing to commit") {
		return nil
	}
	return err
}
