package dotnet

import (
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// framework is a target framework that runs here.
type framework struct {
	name    string // net8.0, as the project has it
	channel string // 8.0
}

var (
	modern  = pattern.New(`^net(\d{1,2})\.(\d{1,2})(-[a-z0-9.]+)?$`)
	core    = pattern.New(`^netcoreapp(\d)\.(\d)$`)
	classic = pattern.New(`^net(?:[1-4]\d{0,2}|[1-4]\.\d(?:\.\d)?)$`)
)

// firstHere is the first version that runs on today's OpenSSL: older ones end where they need it.
var firstHere = []int{6, 0}

// parseFramework reads a target framework. ok is false for one that makes no program here: a standard's, or one of another system.
func parseFramework(name string) (f framework, ok bool) {
	lower := strings.ToLower(strings.TrimSpace(name))
	m := modern.FindStringSubmatch(lower)
	if m != nil && (m[3] != "" || m[1] < "5" && len(m[1]) == 1) {
		return f, false
	}
	if m == nil {
		m = core.FindStringSubmatch(lower)
	}
	if m == nil {
		return f, false
	}
	return framework{lower, m[1] + "." + m[2]}, true
}

// older tells whether the version is too old to run here itself.
func (f framework) older() bool { return kit.CompareVersions(numbers(f.channel), firstHere) < 0 }

// numbers are those of a version: those before a hyphen.
func numbers(version string) (list []int) {
	version, _, _ = strings.Cut(version, "-")
	for p := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(p)
		if err != nil {
			return list
		}
		list = append(list, n)
	}
	return list
}

// framework returns the newest of the project's frameworks that runs here. None is a *kit.Error that names what the project is for.
func (p *project) framework() (best framework, err error) {
	text := p.property("targetframework")
	if text == "" {
		text = p.property("targetframeworks")
	}
	names := strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ' ' || r == '\n' || r == '\t' || r == '\r' })
	for _, name := range names {
		if f, ok := parseFramework(name); ok && (best.name == "" || kit.CompareVersions(numbers(f.channel), numbers(best.channel)) > 0) {
			best = f
		}
	}
	if best.name != "" {
		return best, nil
	}
	return best, p.refused(names)
}

// refused says why a project cannot run here.
func (p *project) refused(names []string) error {
	if v := p.property("targetframeworkversion"); p.sdk == "" && v != "" {
		return onlyWindows(p.path, ".NET Framework "+strings.TrimPrefix(strings.ToLower(v), "v"))
	}
	for _, name := range names {
		lower := strings.ToLower(name)
		if classic.MatchString(lower) {
			return onlyWindows(p.path, ".NET Framework ("+name+")")
		}
		if _, system, ok := strings.Cut(lower, "-"); ok && strings.HasPrefix(lower, "net") {
			system = strings.TrimRight(system, "0123456789.")
			return kit.Errorf("add a framework without it, such as net10.0, and use nothing of "+system, "%s is for %s alone: %s", p.path, system, name)
		}
		if strings.HasPrefix(lower, "netstandard") {
			return kit.Errorf("target net10.0 or another version that runs programs", "%s targets %s, which is for libraries", p.path, name)
		}
	}
	if p.sdk == "" && p.property("targetframework") == "" {
		return onlyWindows(p.path, "the project form of .NET Framework")
	}
	if len(names) > 0 {
		return kit.Errorf("write a version such as net10.0", "%s targets %q, which is no framework that is known here", p.path, strings.Join(names, ";"))
	}
	return kit.Errorf("add <TargetFramework>net10.0</TargetFramework>", "%s says no TargetFramework, and neither does a Directory.Build.props above it", p.path)
}

func onlyWindows(file, what string) error {
	return kit.Errorf("move it to a version such as net10.0, which runs on Linux too (the upgrade assistant of .NET helps)", "%s is for %s, which runs on Windows alone", file, what)
}
