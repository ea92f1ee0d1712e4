package java

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// standard is the version of an app that asks for none.
const standard = 21

// oldest is the oldest version that can be had. It compiles for, and runs, what older ones did.
const oldest = 8

// afterOldest takes its place where it cannot be had. It runs nearly all that it runs.
const afterOldest = 11

// Of the versions with long support that Debian carries, the order of choice: for an app that asks for none, and for a compiler's target. 11 and 8 are for
// build tools that are too old for the others.
var (
	forAny    = []int{standard, 17, 11, oldest}
	forTarget = []int{17, 21, 25, 11, oldest}
)

// want is the version of Java that an app asks for.
type want struct {
	version int    // 0 for any
	atLeast bool   // a compiler's target: any newer one can do it
	from    string // the file, or the variable
	newest  int    // the newest that the build tool runs on; 0 for any
}

func (w want) describe() string {
	switch {
	case w.version == 0:
		return "any java"
	case w.atLeast:
		return fmt.Sprintf("java %d or later", w.version)
	}
	return fmt.Sprintf("java %d", w.version)
}

// pick chooses a version.
func (w want) pick() int {
	list := forTarget
	switch {
	case w.version == 0:
		list = forAny
	case !w.atLeast || w.version < 6:
		return max(w.version, oldest)
	case w.version == 6:
		return afterOldest // the last compiler that knows it
	}
	for _, v := range list {
		if v >= w.version && (w.newest == 0 || v <= w.newest) {
			return v
		}
	}
	return max(w.version, w.newest)
}

// finder reads one place where a version may be written; "" where it is not.
type finder struct {
	from string
	read func(app string) string
}

// finders are the places where a person writes the version of Java, the most exact first.
var finders = []finder{
	{"system.properties", func(app string) string { return properties(kit.Text(app, "system.properties"))["java.runtime.version"] }},
	{".java-version", func(app string) string { return first(kit.VersionLines(app, ".java-version")) }},
	{".sdkmanrc", func(app string) string { return properties(kit.Text(app, ".sdkmanrc"))["java"] }},
	{".tool-versions", func(app string) string { return first(kit.AsdfVersions(app, ".tool-versions", "java")) }},
	{"mise.toml", func(app string) string { return first(kit.MiseVersions(app, "mise.toml", "java")) }},
	{".mise.toml", func(app string) string { return first(kit.MiseVersions(app, ".mise.toml", "java")) }},
}

// wantedVersion finds out which Java the app asks for.
func wantedVersion(app string, s source, env kit.Env) (want, error) {
	for _, name := range []string{"BP_JVM_VERSION", "GOOGLE_RUNTIME_VERSION"} {
		if v := env[name]; v != "" {
			return exact(v, name)
		}
	}
	for _, f := range finders {
		if v := f.read(app); v != "" {
			return exact(v, f.from)
		}
	}
	switch s.tool {
	case maven:
		return mavenVersion(app)
	case gradle:
		return gradleVersion(app)
	case sbt:
		return want{newest: sbtNewest(app)}, nil
	case archive:
		return archiveVersion(app, s), nil
	}
	return want{}, nil
}

func exact(text, from string) (want, error) {
	v, ok := feature(text)
	if !ok {
		return want{}, kit.Errorf("write a version such as 21", "%s asks for Java %q, which is not a version", from, short(text))
	}
	return want{version: v, from: from}, nil
}

var number = pattern.New(`(?:^|[^0-9.])v?([0-9]+)(?:\.([0-9]+))?`)

// feature returns the number that a version of Java begins with: 21 of "21.0.2-tem" and "temurin-21.0.2+13", 8 of "1.8.0_292".
func feature(text string) (int, bool) {
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "lts", "latest", "openjdk", "java":
		return standard, true
	}
	m := number.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	v, err := strconv.Atoi(m[1])
	if v == 1 && m[2] != "" {
		v, err = strconv.Atoi(m[2])
	}
	return v, err == nil && v >= 5 && v < 100
}

// archiveVersion goes by what compiled the classes of a jar or war.
func archiveVersion(app string, s source) want {
	if v := classVersion(app, s.file); v != 0 {
		return want{version: v, atLeast: true, from: s.file}
	}
	return want{}
}

// properties reads a file of Java's properties: key=value, key: value, key value; comments after # and ! at the start of a line.
func properties(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		i := strings.IndexAny(line, "=: \t")
		if i < 0 {
			continue
		}
		value := strings.TrimSpace(line[i:])
		value = strings.TrimSpace(strings.TrimLeft(value, "=:"))
		found[line[:i]] = strings.NewReplacer(`\:`, ":", `\=`, "=", `\\`, `\`).Replace(value)
	}
	return found
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// compare compares two versions number by number: "8.10" is newer than "8.5". What follows a hyphen or plus does not count.
func compare(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(v string) (list []int) {
	v, _, _ = strings.Cut(v, "-")
	v, _, _ = strings.Cut(v, "+")
	for part := range strings.SplitSeq(v, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		list = append(list, n)
	}
	return list
}

// newestFor returns the newest Java that a build tool of a version runs on, by a table of first versions, the newest first; 0 for any.
func newestFor(version string, table []limit) int {
	if version == "" {
		return 0
	}
	for _, l := range table {
		if compare(version, l.since) >= 0 {
			return l.java
		}
	}
	return 8
}

// lowest is the lower one of two versions, of which 0 stands for any.
func lowest(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

type limit struct {
	since string
	java  int
}
