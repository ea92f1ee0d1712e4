package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// DefaultFile is read where no other file is named, if it exists.
const DefaultFile = "/etc/gitd/config.toml"

// fileFlag names the configuration file.
const fileFlag = "config"

// Set is all settings with a value and a source for each. Its use: NewSet, Flags, the command line, Load.
type Set struct {
	Config Config

	settings    []*Setting
	given       map[string][]string // flags of the command line, by name
	defaultFile string
	file        string // that was read; "": none
	notes       []string
}

// source is where a value comes from, as messages call it.
type source struct {
	kind sourceKind
	name string // "--http", "GITD_HTTP", "/etc/gitd/config.toml, line 3: http.address"
}

type sourceKind int

// The sources. A later one overrides an earlier one.
const (
	fromDefault sourceKind = iota
	fromEnvironment
	fromFile
	fromFlag
)

func (k sourceKind) String() string {
	return [...]string{"default", "environment", "file", "flag"}[k]
}

// NewSet returns the settings with their defaults.
func NewSet() *Set {
	s := &Set{given: map[string][]string{}, defaultFile: DefaultFile}
	s.settings = declared(&s.Config)
	for _, x := range s.settings {
		if p := x.setText(x.Default); p != nil {
			panic(fmt.Sprintf("default of %s.%s: %s", x.Group, x.Key, p.reason))
		}
	}
	return s
}

// Variable is the setting's name in the environment: GITD_ and its flag in capitals, with _ for -.
func (x *Setting) Variable() string { return variable(x.Flag) }

func variable(flag string) string {
	return "GITD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// setText sets a value as a flag or a variable has it: a list is separated by commas.
func (x *Setting) setText(text string) *problem {
	texts := []string{text}
	if x.list {
		texts = split(text)
	}
	return x.set(texts)
}

func split(text string) []string {
	var all []string
	for _, t := range strings.Split(text, ",") {
		if t = strings.TrimSpace(t); t != "" {
			all = append(all, t)
		}
	}
	return all
}

// Load reads the file and the environment (as os.Environ gives it), and puts what the command line gave above them. It returns an *app.Error
// that names the source of a wrong value.
func (s *Set) Load(environ []string) error {
	env := map[string]string{}
	for _, kv := range environ {
		if name, v, ok := strings.Cut(kv, "="); ok && v != "" && strings.HasPrefix(name, "GITD_") {
			env[name] = v
		}
	}
	for _, x := range s.settings {
		if v, ok := env[x.Variable()]; ok {
			if err := s.take(x, source{fromEnvironment, x.Variable()}, listed(x, v)); err != nil {
				return err
			}
		}
	}
	s.noteUnknown(env)
	if err := s.loadFile(env[variable(fileFlag)]); err != nil {
		return err
	}
	for _, x := range s.settings {
		if texts, ok := s.given[x.Flag]; ok {
			if err := s.take(x, source{fromFlag, "--" + x.Flag}, texts); err != nil {
				return err
			}
		}
	}
	return s.check()
}

func listed(x *Setting, v string) []string {
	if x.list {
		return split(v)
	}
	return []string{v}
}

// take sets a value, and notes which source it overrides with another value.
func (s *Set) take(x *Setting, from source, texts []string) error {
	before := x.get()
	if p := x.set(texts); p != nil {
		return app.Errorf(app.CodeInvalidInput, p.next, "%s: %s", from.name, p.reason)
	}
	if x.source.kind != fromDefault && !slices.Equal(before, x.get()) {
		s.notes = append(s.notes, fmt.Sprintf("%s is taken; %s is ignored", from.name, x.source.name))
	}
	x.source = from
	return nil
}

// Notes says in words where two sources disagree and which of them holds, and which variables may be misspelt.
func (s *Set) Notes() []string { return s.notes }

// noteUnknown notes variables whose names are nearly a setting's.
func (s *Set) noteUnknown(env map[string]string) {
	var names []string
	for _, x := range s.settings {
		names = append(names, x.Variable())
	}
	names = append(names, variable(fileFlag))
	for name := range env {
		if near := nearest(name, names); near != name && near != "" && !linkOfAService(name) {
			s.notes = append(s.notes, fmt.Sprintf("the variable %s is ignored: there is no such setting; did you mean %s?", app.Clip(name, 60), near))
		}
	}
	slices.Sort(s.notes)
}

// linkOfAService tells variables that Kubernetes sets in every Pod for a Service whose name begins with gitd.
func linkOfAService(name string) bool {
	return strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_PORT_") || strings.Contains(name, "_SERVICE_")
}

// check looks at what settings mean together.
func (s *Set) check() error {
	for _, x := range s.settings {
		if x.source.kind == fromDefault || x.Only == "" || x.Only == s.Config.Server.Platform {
			continue
		}
		if x.Only == Knative {
			return app.Errorf(app.CodeInvalidInput, "add --platform knative, or leave it out", "%s requires --platform knative", x.source.name)
		}
		if x.Group == "http" {
			return app.Errorf(app.CodeInvalidInput, "leave it out", "%s: on a cluster, its ingress takes the apps' requests", x.source.name)
		}
		return app.Errorf(app.CodeInvalidInput, "add --platform local, or leave it out", "%s requires --platform local", x.source.name)
	}
	return nil
}

// DataDir returns the data directory for a command that needs nothing else of the configuration: flag where it is not "", else what the
// server would take.
func DataDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	s := NewSet()
	if err := s.Load(os.Environ()); err != nil {
		return "", err
	}
	return s.Config.Server.Data, nil
}

// nearest returns the name that differs least from word, at most by two letters; "" where none does.
func nearest(word string, names []string) string {
	best, found := 3, ""
	for _, name := range names {
		if d := distance(word, name); d < best {
			best, found = d, name
		}
	}
	return found
}

// distance is how many letters have to be put in, taken out or changed to make b of a (Levenshtein). Words whose lengths differ much are as
// far apart as they are long.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// filePath is the file to read, and whether it must exist.
func (s *Set) filePath(variable string) (path string, must bool) {
	if texts := s.given[fileFlag]; len(texts) > 0 {
		return texts[len(texts)-1], true
	}
	return cmp.Or(variable, s.defaultFile), variable != ""
}
