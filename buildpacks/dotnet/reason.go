package dotnet

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// reader keeps the first errors of what MSBuild prints.
type reader struct {
	errors []finding
	notes  []string // lines after the first error that belong to it
}

// finding is an error: where, its code, and its words.
type finding struct{ place, code, text string }

const maxFindings = 50

// An error of MSBuild's: "FILE(LINE,COLUMN): error CODE: TEXT [PROJECT]", without a place, or with the program before it.
var errorLine = pattern.New(`^\s*(?:(.+?)(?:\((\d+)(?:,(\d+)(?:,\d+,\d+)?)?\))?\s*: )?(?:[a-z]+ )?error ([A-Z]{2,10}\d{2,5})?\s*: (.*)$`)

func (r *reader) line(line string) {
	line = strings.TrimRight(line, "\r")
	if len(line) > 2000 {
		line = line[:2000]
	}
	m := errorLine.FindStringSubmatch(line)
	if m == nil {
		if len(r.errors) > 0 && len(r.notes) < maxFindings {
			r.notes = append(r.notes, strings.TrimSpace(line))
		}
		return
	}
	if len(r.errors) >= maxFindings {
		return
	}
	f := finding{code: m[4], text: strings.TrimSpace(m[5])}
	if i := strings.LastIndex(f.text, " ["); i > 0 && strings.HasSuffix(f.text, "]") { // the project
		f.text = f.text[:i]
	}
	if m[2] != "" {
		f.place = m[1] + ":" + m[2]
		if m[3] != "" {
			f.place += ":" + m[3]
		}
	} else {
		f.place = m[1]
	}
	r.errors = append(r.errors, f)
}

// first is the first error with a code that begins so.
func (r *reader) first(prefixes ...string) (finding, bool) {
	for _, f := range r.errors {
		for _, p := range prefixes {
			if strings.HasPrefix(f.code, p) {
				return f, true
			}
		}
	}
	return finding{}, false
}

// all is what was said from the first error on: MSBuild begins each line of a long error like an error of its own.
func (r *reader) all() string {
	lines := slices.Clone(r.notes)
	for _, f := range r.errors {
		lines = append(lines, f.text)
	}
	return strings.Join(lines, "\n")
}

// reason puts the cause of a failure into the error: what restoring packages says first, for without them all else fails as well.
func (b *build) reason(r *reader, said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) || e.Lack != "" {
		return err
	}
	for _, c := range causes {
		f, ok := r.first(c.code)
		if !ok {
			continue
		}
		if next, text := c.say(b, f, r.all()); text != "" {
			return kit.Errorf(next, "%s: %s (%s)", e.Message, text, f.code)
		}
	}
	f, ok := r.first("CS", "FS", "BC", "VB", "NU", "NETSDK", "RZ", "AL")
	if !ok && len(r.errors) > 0 {
		f, ok = r.errors[0], true
	}
	if !ok {
		return b.wordless(e, said)
	}
	text := f.text
	if f.code != "" {
		text += " (" + f.code + ")"
	}
	if place := b.short(f.place); place != "" {
		text = place + ": " + text
	}
	return kit.Errorf(e.Next, "%s: %s", e.Message, text)
}

// wordless is for a failure without a line of MSBuild's.
func (b *build) wordless(e *kit.Error, said string) error {
	switch {
	case strings.Contains(said, "OutOfMemoryException"), strings.Contains(said, "Out of memory"):
		return kit.Errorf("", "%s: the build may have run out of memory", e.Message)
	case noSuchSDK.MatchString(said):
		return kit.Errorf("ask for a version that rollForward can meet", "%s: the SDK %s is not what %s allows", e.Message, b.sdk.Version, globalFile)
	}
	if m := lastWords.FindStringSubmatch(said); m != nil {
		return kit.Errorf(e.Next, "%s: %s", e.Message, m[1])
	}
	return e
}

var (
	noSuchSDK   = pattern.New(`A compatible \.NET SDK was not found|Requested SDK version`)
	lastWords   = pattern.New(`(?m)^(?:Unhandled exception[.:] (?:\S+: )?|Could not execute because |MSBUILD : )(.+)$`)
	inSource    = pattern.New(`[Uu]nable to find (?:a stable )?package ([^\s.]+(?:\.[^\s.]+)*)\.? No packages exist with this id in source\(s\): (.+)`)
	noVersion   = pattern.New(`[Uu]nable to find (?:a stable )?package (\S+) with version \(([^)]+)\)`)
	nearest     = pattern.New(`Found \d+ version\(s\) in \S+ \[ Nearest version: (\S+) \]`)
	ofHost      = pattern.New(`https?://([^/'"\s:]+)`)
	answered    = pattern.New(`\b(401|403)\b`)
	workload    = pattern.New(`workloads must be installed: (.+?)(?:\. |$|To install)`)
	supports    = pattern.New(`does not support targeting (\.NET(?: Core)? [0-9.]+[0-9])`)
	ranCommand  = pattern.New(`The command "(.+)" exited with code (\d+)`)
	unknownFlag = pattern.New(`Unknown switch|Switch: (\S+)`)
	missingSDK  = pattern.New(`(?:The SDK '([^']+)' specified|imported project "([^"]+)")`)
)

// cause says what one code of MSBuild's or NuGet's means, and what to do. An empty text leaves it to the error's own words.
type cause struct {
	code string
	say  func(b *build, f finding, notes string) (next, text string)
}

// causes are in the order in which they count.
var causes = []cause{
	{"NU1301", func(_ *build, f finding, notes string) (string, string) {
		host := "the source of packages"
		if m := ofHost.FindStringSubmatch(f.text); m != nil {
			host = m[1]
		}
		if answered.MatchString(f.text + notes) {
			return "give the build NuGetPackageSourceCredentials_NAME, or take the source out of nuget.config", host + " wants a name and a password"
		}
		return "try again later, or set " + settingNuGet + " for the server to a mirror", host + " cannot be reached for packages"
	}},
	{"NU1101", func(_ *build, f finding, _ string) (string, string) {
		if m := inSource.FindStringSubmatch(f.text); m != nil {
			return "check its name, or add its source to nuget.config", "there is no package " + m[1] + " in " + strings.TrimSuffix(m[2], ".")
		}
		return "", ""
	}},
	{"NU1102", func(_ *build, f finding, notes string) (string, string) { return noSuchVersion(f, notes) }},
	{"NU1103", func(_ *build, f finding, notes string) (string, string) { return noSuchVersion(f, notes) }},
	{"NU1004", func(b *build, f finding, _ string) (string, string) {
		return "run dotnet restore --force-evaluate, commit packages.lock.json and push again", "packages.lock.json does not fit " + b.targets.main.path
	}},
	{"NU1403", func(_ *build, f finding, _ string) (string, string) {
		return "see that the source has not changed the package; run dotnet restore --force-evaluate if it is right", f.text
	}},
	{"NETSDK1045", func(b *build, f finding, _ string) (string, string) {
		m := supports.FindStringSubmatch(f.text)
		if m == nil || !kit.IsFile(b.app, globalFile) {
			return "", ""
		}
		return "ask for a newer one there, or add rollForward latestMajor", "the SDK " + b.sdk.Version + ", which " + globalFile + " asks for, does not know " + m[1]
	}},
	{"NETSDK1147", func(_ *build, f finding, _ string) (string, string) {
		if m := workload.FindStringSubmatch(f.text); m != nil {
			return "publish without it: RunAOTCompilation and WasmBuildNative ask for wasm-tools, target frameworks for others", "it needs the workload " + strings.TrimSpace(m[1]) + ", which the build does not have"
		}
		return "", ""
	}},
	{"MSB1001", func(_ *build, f finding, _ string) (string, string) {
		if m := unknownFlag.FindStringSubmatch(f.text); m != nil {
			return "correct " + settingFlags, "dotnet publish does not know a flag"
		}
		return "", ""
	}},
	{"MSB4236", missingParts}, {"MSB4019", missingParts},
	{"MSB3073", func(_ *build, f finding, _ string) (string, string) {
		m := ranCommand.FindStringSubmatch(f.text)
		if m == nil {
			return "", ""
		}
		if m[2] == "127" {
			return "install it by [io.gitd.build] packages in project.toml, or leave the command out of the build", "the project runs " + m[1] + ", and there is no such program"
		}
		return "see what it says above", "the project runs " + m[1] + ", which failed (exit status " + m[2] + ")"
	}},
}

func noSuchVersion(f finding, notes string) (string, string) {
	m := noVersion.FindStringSubmatch(f.text)
	if m == nil {
		return "", ""
	}
	text := "there is no package " + m[1] + " of version " + m[2]
	if n := nearest.FindStringSubmatch(f.text + "\n" + notes); n != nil {
		return "ask for one that there is", text + "; the nearest is " + n[1]
	}
	return "ask for one that there is, or add its source to nuget.config", text
}

func missingParts(_ *build, f finding, _ string) (string, string) {
	if m := missingSDK.FindStringSubmatch(f.text); m != nil {
		return "name one that NuGet has, with its version in global.json (msbuild-sdks), or convert a project of .NET Framework", "the project needs " + filepath.Base(strings.ReplaceAll(m[1]+m[2], `\`, "/")) + ", which the SDK does not have"
	}
	return "", ""
}

// short is a place below the app, without the app's folder; "" for one that is no file.
func (b *build) short(place string) string {
	if rel, err := filepath.Rel(b.app, place); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	if filepath.IsAbs(place) || !strings.Contains(place, ".") || strings.Contains(place, " ") {
		return ""
	}
	return place
}
