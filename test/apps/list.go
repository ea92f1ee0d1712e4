package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"

	"github.com/BurntSushi/toml"
	"github.com/rogpeppe/go-internal/txtar"
)

//go:embed apps.toml
var listed string

// sample is one public app, and what is expected of it.
type sample struct {
	Repository string // owner/name; "" where Create makes the app
	Commit     string
	Path       string   // the app's folder in the repository; "" is its root
	Create     []string // the command that makes the app in an empty folder, for the starters of npm
	Language   string
	Manager    string   // its package manager, and
	Framework  string   // its framework, as docs/kinds.md names them
	Get        string   // asked for instead of /
	Status     int      // of the answer to it, instead of one below 400
	Worker     bool     // has no web process
	Set        []string // variables NAME=VALUE of its configuration, set before the push
	Says       []string // patterns of what the push says, such as the output of the release command
	Runs       []string // process types beside web that are up then
	Has        []string // variables that its configuration has then, such as those that are generated
	Env        []string // variables NAME=VALUE that a command of "run" has then, such as defaults of app.json
	Schedules  []string // names of its schedules
	Refused    string   // a pattern of what the push says: the app is refused, and rightly
	Needs      string   // what the app needs beside gitd, such as a database: it is not pushed

	fixture string       // "kinds/NAME" of an app of ours, instead of Repository and Create
	files   []txtar.File // and its files
}

// name is a name for the app on the server, and for people.
func (s *sample) name() string {
	n := s.Repository + "/" + s.Path
	switch {
	case s.fixture != "":
		n = s.fixture
	case s.Repository == "":
		n = s.Create[len(s.Create)-1]
		for _, w := range s.Create {
			if starter.MatchString(w) {
				n = w
				break
			}
		}
		if i := slices.Index(s.Create, "--template"); i >= 0 && i+1 < len(s.Create) {
			n += "-" + s.Create[i+1]
		}
	}
	return path.Clean(n)
}

var starter = regexp.MustCompile(`^(@[\w-]+/)?(create-[\w-]+|sv|nuxi|cli)@`)

// app turns the sample's name into one that an app can have.
func (s *sample) app() string {
	n := notInName.ReplaceAllString(s.name(), "-")
	if len(n) > 40 {
		n = n[len(n)-40:]
	}
	for n != "" && (n[0] == '-' || n[0] >= '0' && n[0] <= '9') {
		n = n[1:]
	}
	return n
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// samples reads the list: apps.toml, or another file.
func samples(file string) ([]sample, error) {
	text := listed
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	var list struct{ App []sample }
	meta, err := toml.Decode(text, &list)
	if err != nil {
		return nil, err
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return nil, fmt.Errorf("apps.toml: unknown key %s", extra[0])
	}
	seen := map[string]bool{}
	for _, s := range list.App {
		switch {
		case (s.Repository == "") == (len(s.Create) == 0):
			return nil, errors.New("apps.toml: an app has either a repository or a command that makes it")
		case s.Repository != "" && len(s.Commit) != 40:
			return nil, fmt.Errorf("apps.toml: %s: the commit needs 40 digits", s.name())
		case seen[s.app()]:
			return nil, fmt.Errorf("apps.toml: %s is there twice", s.name())
		case s.Language == "":
			return nil, fmt.Errorf("apps.toml: %s has no language", s.name())
		}
		seen[s.app()] = true
	}
	return list.App, nil
}
