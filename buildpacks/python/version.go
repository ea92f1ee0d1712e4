package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// wanted is the Python that the app asks for.
type wanted struct {
	text string
	from string
	ok   func(version string) bool
}

// versionFiles are the places in which tools write the version, the most exact first.
var versionFiles = []struct {
	name string
	read func(app, file string, s source) []string // what is asked for; the first one that names CPython counts
}{
	{".python-version", lines},
	{"runtime.txt", lines},
	{".tool-versions", func(app, file string, _ source) []string { return kit.AsdfVersions(app, file, "python") }},
	{"mise.toml", mise},
	{".mise.toml", mise},
	{"requires-python in pyproject.toml", func(_, _ string, s source) []string { return one(s.project.Project.RequiresPython) }},
	{"tool.poetry.dependencies in pyproject.toml", func(_, _ string, s source) []string {
		v, _ := s.project.Tool.Poetry.Dependencies["python"].(string)
		return one(v)
	}},
	{"Pipfile.lock", pipfileVersion},
	{"Pipfile", pipfileVersion},
}

// pins are the files in which developers' tools note the version that they work with, within the range that the app allows.
var pins = []string{".python-version", ".tool-versions", "mise.toml", ".mise.toml"}

func lines(app, file string, _ source) []string { return kit.VersionLines(app, file) }

func mise(app, file string, _ source) []string { return kit.MiseVersions(app, file, "python") }

func one(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return []string{text}
}

var pipfile = pattern.New(`"?python_(?:full_)?version"?\s*[:=]\s*"([0-9.]+)"`)

func pipfileVersion(app, file string, _ source) []string {
	if m := pipfile.FindStringSubmatch(kit.Text(app, file)); m != nil {
		return []string{m[1]}
	}
	return nil
}

var (
	exactVersion = pattern.New(`^(?:c?python-?)?([0-9]+(?:\.[0-9]+){0,2})(?:t|\.?[ab]\d+|rc\d+)?$`)
	otherPython  = pattern.New(`^(pypy|graalpy|graalpython|micropython|miniconda|miniforge|mambaforge|anaconda|jython|ironpython|stackless|activepython|pyston|cinder|nogil)`)
)

// wantedVersion reads the version from the files in which it is written down. Of an exact version the patch does not count: what a distribution
// calls 3.11.2 has the fixes of later ones. A value that is not a version is a *kit.Error.
func wantedVersion(app string, s source) (wanted, error) {
	for _, f := range versionFiles {
		texts := f.read(app, f.name, s)
		for i, text := range texts {
			name := f.name
			if s.script {
				name = strings.ReplaceAll(name, "pyproject.toml", s.kind)
			}
			w, err := parseWanted(text, name)
			if err == nil || i == len(texts)-1 {
				return w, err
			}
		}
	}
	return wanted{ok: func(string) bool { return true }}, nil
}

func parseWanted(text, from string) (wanted, error) {
	lower := strings.TrimSuffix(strings.ToLower(text), ".x") // "3.11.x" is any 3.11
	if m := exactVersion.FindStringSubmatch(lower); m != nil {
		return wanted{m[1], from, func(v string) bool { return m[1] == "3" || minor(m[1]) == minor(v) }}, nil
	}
	if m := otherPython.FindStringSubmatch(lower); m != nil {
		return wanted{}, kit.Errorf("name a version of CPython, such as 3.11", "%s asks for %s, and only CPython is available", from, text)
	}
	switch lower {
	case "latest", "system", "stable", "*":
		return wanted{ok: func(string) bool { return true }}, nil
	}
	ok, err := parseSpecifier(text)
	if err != nil {
		return wanted{}, kit.Errorf("write a version such as 3.11, or a range such as >=3.11", "%s asks for Python %q, which is not a version", from, text)
	}
	return wanted{text, from, ok}, nil
}

func (w wanted) describe() string {
	if w.text == "" {
		return "any python"
	}
	return "python " + w.text
}

func (w wanted) allows(version string) bool { return w.ok(version) }

// minor cuts a version to its first two numbers.
func minor(v string) string {
	parts := strings.Split(v, ".")
	return strings.Join(parts[:min(2, len(parts))], ".")
}
