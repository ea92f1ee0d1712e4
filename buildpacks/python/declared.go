package python

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// requirementName is the name at the beginning of a requirement.
var requirementName = pattern.New(`^\s*([A-Za-z0-9][A-Za-z0-9._-]*)`)

// declared lists the names of the packages that the app's own file asks for, whatever the lock file beside it says; those that only some systems
// need are left out.
func (b *build) declared() (names []string) {
	p := b.source.project
	for _, d := range p.Project.Dependencies {
		if m := requirementName.FindStringSubmatch(d); m != nil && !strings.Contains(d, ";") {
			names = append(names, normal(m[1]))
		}
	}
	if b.source.kind == "Pipfile.lock" {
		names = nil
		packages, _ := readPipfile(kit.Text(b.app, "Pipfile")) // a malformed one is pipenv's to complain about
		for name, v := range packages {
			if t, ok := v.(map[string]any); !ok || t["markers"] == nil && t["sys_platform"] == nil && t["platform_system"] == nil {
				names = append(names, normal(name))
			}
		}
		slices.Sort(names)
		return names
	}
	for _, name := range slices.Sorted(maps.Keys(p.Tool.Poetry.Dependencies)) {
		t, ok := p.Tool.Poetry.Dependencies[name].(map[string]any)
		if optional, _ := t["optional"].(bool); normal(name) != "python" && !optional && (!ok || t["markers"] == nil && t["platform"] == nil && t["python"] == nil) {
			names = append(names, normal(name))
		}
	}
	return names
}

// missingFrom names the packages that the app asks for and a lock file does not have, as the end of a sentence; "" for none.
func (b *build) missingFrom(lockedNames []string) string {
	var missing []string
	for _, name := range b.declared() {
		if !slices.Contains(lockedNames, name) && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	if len(missing) > 3 {
		missing = append(missing[:3], "others")
	}
	return ": it does not have " + strings.Join(missing, ", ")
}

// checkLock refuses a lock file that has not all that the app asks for: what it installs would fail only when the app runs.
func (b *build) checkLock(l locked, manifest, command string) error {
	if missing := b.missingFrom(l.names); missing != "" {
		return kit.Errorf("run "+command+", commit "+b.source.kind+" and push again", "%s is not up to date with %s%s", b.source.kind, manifest, missing)
	}
	return nil
}

// readPipfile reads the packages of a Pipfile.
func readPipfile(text string) (map[string]any, error) {
	var p struct {
		Packages map[string]any `toml:"packages"`
	}
	if err := toml.Unmarshal([]byte(text), &p); err != nil {
		return nil, kit.Errorf("correct it and push again", "Pipfile cannot be read: %s", kit.First(err.Error()))
	}
	return p.Packages, nil
}

// pipfileRequirements are the packages of a Pipfile as requirements.
func pipfileRequirements(text string) ([]string, error) {
	packages, err := readPipfile(text)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		lines = append(lines, tableRequirement(name, packages[name], func(v string) (string, error) { return strings.TrimPrefix(v, "*"), nil }))
	}
	return lines, nil
}

// poetryRequirements are Poetry's dependencies as requirements.
func (p project) poetryRequirements() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(p.Tool.Poetry.Dependencies)) {
		d := p.Tool.Poetry.Dependencies[name]
		t, _ := d.(map[string]any)
		if optional, _ := t["optional"].(bool); normal(name) == "python" || optional {
			continue
		}
		lines = append(lines, tableRequirement(name, d, poetryVersion))
	}
	return lines
}

// tableRequirement writes a dependency of Poetry's or Pipenv's, which is a version or a table, as a requirement.
func tableRequirement(name string, d any, version func(string) (string, error)) string {
	t, ok := d.(map[string]any)
	if list, many := d.([]any); many && len(list) > 0 { // several, by markers
		var lines []string
		for _, e := range list {
			lines = append(lines, tableRequirement(name, e, version))
		}
		return strings.Join(lines, "\n")
	}
	text := func(key string) string { s, _ := t[key].(string); return s }
	p := pipfilePackage{Git: text("git"), Subdirectory: text("subdirectory"), Path: text("path"), File: text("file") + text("url"), Markers: text("markers")}
	for _, key := range []string{"ref", "rev", "tag", "branch"} {
		if p.Ref == "" {
			p.Ref = text(key)
		}
	}
	if extras, ok := t["extras"].([]any); ok {
		for _, e := range extras {
			p.Extras = append(p.Extras, fmt.Sprint(e))
		}
	}
	v, _ := d.(string)
	if ok {
		v = text("version")
	}
	if v, err := version(v); err == nil {
		p.Version = v
	}
	line := p.line(name)
	var markers []string
	for key, value := range t {
		switch key {
		case "markers":
			markers = append(markers, "("+fmt.Sprint(value)+")")
		case "platform":
			markers = append(markers, fmt.Sprintf("sys_platform == %q", value))
		case "sys_platform", "platform_system", "platform_machine", "os_name", "python_version", "python_full_version", "implementation_name":
			markers = append(markers, key+" "+fmt.Sprint(value))
		case "python":
			if m := pythonMarker(fmt.Sprint(value)); m != "" {
				markers = append(markers, m)
			}
		}
	}
	slices.Sort(markers)
	if len(markers) > 0 {
		line += " ; " + strings.Join(markers, " and ")
	}
	return line
}

// pythonMarker writes a range of Python versions as a marker.
func pythonMarker(spec string) string {
	spec, err := poetryVersion(spec)
	if err != nil {
		return ""
	}
	var parts []string
	for c := range strings.SplitSeq(spec, ",") {
		i := strings.IndexFunc(c, func(r rune) bool { return r >= '0' && r <= '9' })
		if i > 0 {
			parts = append(parts, fmt.Sprintf("python_full_version %s %q", strings.TrimSpace(c[:i]), strings.TrimSpace(c[i:])))
		}
	}
	return strings.Join(parts, " and ")
}

// poetryVersion writes a version constraint of Poetry's as one of PEP 440: ^1.2 is >=1.2,<2, ~1.2 is >=1.2,<1.3. A choice of several ("||") says
// nothing that a requirement could say.
func poetryVersion(v string) (string, error) {
	if strings.Contains(v, "|") {
		return "", nil
	}
	var clauses []string
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		switch {
		case part == "" || part == "*" || part == "latest":
		case strings.HasPrefix(part, "^"), strings.HasPrefix(part, "~") && !strings.HasPrefix(part, "~="):
			lower := strings.TrimSpace(part[1:])
			upper, err := above(lower, part[0] == '^')
			if err != nil {
				return "", err
			}
			clauses = append(clauses, ">="+lower, "<"+upper)
		case part[0] >= '0' && part[0] <= '9':
			clauses = append(clauses, "=="+part)
		default:
			clauses = append(clauses, strings.ReplaceAll(part, " ", ""))
		}
	}
	return strings.Join(clauses, ","), nil
}

// above is the first version that a caret or a tilde leaves out.
func above(version string, caret bool) (string, error) {
	n, err := numbers(version)
	if err != nil {
		return "", err
	}
	at := 0
	if caret {
		for at < len(n)-1 && n[at] == 0 {
			at++
		}
	} else {
		at = min(1, len(n)-1)
	}
	n[at]++
	out := make([]string, at+1)
	for i := range out {
		out[i] = strconv.Itoa(n[i])
	}
	return strings.Join(out, "."), nil
}
