package rust

import (
	"fmt"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	errorLine  = pattern.New(`^error(?:\[(E\d+)\])?: (.*)$`)
	placeLine  = pattern.New(`^\s*--> (\S+:\d+:\d+)$`)
	summary    = pattern.New(`^(?:could not compile|aborting due to|process didn't exit successfully)`)
	pkgConfig  = pattern.New("The system library `([^`]+)` required by crate `([^`]+)` was not found|Package '?([A-Za-z0-9_.+-]+)'?,? (?:was not found|required by)")
	missingLib = pattern.New(`(?:cannot find|unable to find library) -l([A-Za-z0-9_+.-]+)`)
	header     = pattern.New(`fatal error: '?([A-Za-z0-9_./+-]+\.h)'?(?: file not found|: No such file)`)
	missingCmd = pattern.New("is `([a-z0-9+_-]+)` not installed|Could not find `(protoc)`|[Ff]ailed to find tool\\. Is `([^`]+)` installed|(?:^|[\\s\"'])(cmake|clang|perl|nasm|protoc|make|go)(?:: command)? not found")
	customFail = pattern.New("^error: failed to run custom build command for `([^ `]+)")
	newerRust  = pattern.New(`([A-Za-z0-9_-]+)@?\S* (?:requires|cannot be built because it requires) rustc (\d+\.\d+(?:\.\d+)?)`)
)

// reader reads what cargo prints: the first error, with the lines that belong to it, however much follows.
type reader struct {
	lines []string
	first int // where in lines the first error is, plus one
}

// maxLines bounds what is kept from the first error on.
const maxLines = 400

func (r *reader) line(line string) {
	if len(line) > 2000 {
		line = line[:2000]
	}
	if m := errorLine.FindStringSubmatch(line); r.first == 0 && m != nil && !summary.MatchString(m[2]) {
		r.lines, r.first = nil, 1
	}
	if len(r.lines) < maxLines {
		r.lines = append(r.lines, line)
	} else if r.first == 0 {
		r.lines = append(r.lines[:0], r.lines[maxLines/2:]...)
	}
}

// firstError is the first error in what a tool printed, in a line.
func firstError(text string) string {
	r := &reader{}
	_, _ = (&kit.Lines{Do: r.line}).Write([]byte(text + "\n")) // cannot fail
	return r.told()
}

// told is the first error in a line, with its place: "src/main.rs:3:5: cannot find value `x` in this scope (E0425)". "" for none.
func (r *reader) told() string {
	if r.first == 0 || len(r.lines) == 0 {
		return ""
	}
	m := errorLine.FindStringSubmatch(r.lines[0])
	text := m[2]
	if m[1] != "" {
		text += " (" + m[1] + ")"
	}
	for _, line := range r.lines[1:min(len(r.lines), 8)] {
		if at := placeLine.FindStringSubmatch(line); at != nil {
			return strings.TrimPrefix(at[1], "./") + ": " + text
		}
		if strings.HasPrefix(line, "error") {
			break
		}
	}
	// The causes below are the more precise, the further down they are.
	cause := ""
	for i, line := range r.lines {
		if line == "Caused by:" && i+1 < len(r.lines) {
			cause = strings.TrimSpace(r.lines[i+1])
		}
	}
	if cause != "" && !strings.HasPrefix(cause, "process didn't exit") {
		text += ": " + cause
	}
	return text
}

// reason says why cargo failed, and what to do.
func (r *reader) reason(name string, err error) error {
	text := strings.Join(r.lines, "\n")
	who := name
	if m := customFail.FindStringSubmatch(text); m != nil {
		who = m[1]
	}
	for _, line := range r.lines {
		if m := customFail.FindStringSubmatch(line); m != nil {
			who = m[1]
		}
	}
	switch {
	case strings.Contains(text, "SIGKILL"):
		return kit.Errorf("", "%s failed (signal: killed): the build may have run out of memory", name)
	case strings.Contains(text, "--locked was passed"), strings.Contains(text, "lock file") && strings.Contains(text, "needs to be updated"):
		return kit.Errorf("run cargo update --workspace, commit Cargo.lock and push again", "Cargo.lock does not fit Cargo.toml")
	case strings.Contains(text, "Unable to find libclang"), strings.Contains(text, "couldn't find any valid shared libraries matching: ['libclang"):
		return kit.Errorf(kit.AddPackages("libclang-dev"), "%s needs libclang, which is not in the builder", who)
	case strings.Contains(text, "Could not find directory of OpenSSL installation"), strings.Contains(text, "Could not find openssl via pkg-config"):
		return kit.Errorf(kit.AddPackages("libssl-dev"), "%s needs the library openssl, which is not in the builder", who)
	}
	if m := newerRust.FindStringSubmatch(text); m != nil {
		said := kit.Errorf(fmt.Sprintf("name a newer one in rust-toolchain.toml: channel = %q", m[2]), "the package %s needs Rust %s or newer", m[1], m[2])
		return &tooOld{said, m[1], m[2]}
	}
	if m := pkgConfig.FindStringSubmatch(text); m != nil {
		lib := m[1] + m[3]
		return kit.Errorf(kit.Lack{Packages: kit.LibraryPackages(lib)}.Next(), "%s needs the library %s, which is not in the builder", orElse(m[2], who), lib)
	}
	if m := missingLib.FindStringSubmatch(text); m != nil {
		return kit.Errorf(kit.Lack{Packages: kit.LibraryPackages(m[1])}.Next(), "the library %s, which the app is linked with, is not in the builder", m[1])
	}
	if m := header.FindStringSubmatch(text); m != nil {
		return kit.Errorf(kit.Lack{Packages: kit.HeaderPackages(m[1])}.Next(), "%s needs the header %s, which is not in the builder", who, m[1])
	}
	if m := missingCmd.FindStringSubmatch(text); m != nil {
		tool := m[1] + m[2] + m[3] + m[4]
		return kit.Errorf(kit.Lack{Packages: kit.ProgramPackages(tool)}.Next(), "%s needs the program %s, which is not in the builder", who, tool)
	}
	if told := r.told(); told != "" {
		return kit.Errorf("", "%s failed: %s", name, told)
	}
	return err
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// tooOld says that a package needs a newer Rust than the one that compiled it.
type tooOld struct {
	said         *kit.Error
	pkg, version string
}

func (e *tooOld) Error() string { return e.said.Error() }

// Unwrap returns what is told to a person.
func (e *tooOld) Unwrap() error { return e.said }
