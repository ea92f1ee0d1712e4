package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/rogpeppe/go-internal/txtar"
)

// kinds are apps of ours, one for a language, a package manager and a framework: archives whose first lines are keys of a sample.
//
//go:embed kinds/*.txtar
var kinds embed.FS

// fixtures reads the apps of ours.
func fixtures() (all []sample, err error) {
	files, err := fs.Glob(kinds, "kinds/*.txtar")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := kinds.ReadFile(name)
		if err != nil {
			return nil, err
		}
		a := txtar.Parse(text)
		s := sample{fixture: strings.TrimSuffix(name, ".txtar"), files: a.Files}
		meta, err := toml.Decode(string(a.Comment), &s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if extra := meta.Undecoded(); len(extra) > 0 {
			return nil, fmt.Errorf("%s: unknown key %s", name, extra[0])
		}
		if s.Language == "" || s.Manager == "" || s.Framework == "" {
			return nil, fmt.Errorf("%s: it says no language, manager or framework", name)
		}
		all = append(all, s)
	}
	return all, nil
}

// layOut writes the files of an app of ours. One that begins with #! can be executed.
func (s *sample) layOut(dir string) error {
	for _, f := range s.files {
		at, mode := filepath.Join(dir, f.Name), os.FileMode(0o644)
		if strings.HasPrefix(string(f.Data), "#!") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, f.Data, mode); err != nil {
			return err
		}
	}
	return nil
}

var reused = regexp.MustCompile(`\([1-9]\d* layers? reused`)

// kept says whether the second push of an app of ours, which changes nothing that is installed, took layers over.
func (t *trial) kept(before int64) error {
	if t.fixture == "" {
		return nil
	}
	said, err := os.ReadFile(t.log.Name())
	if err != nil {
		return err
	}
	if !reused.Match(said[min(before, int64(len(said))):]) {
		return errors.New("second push: no layer was reused")
	}
	return nil
}
