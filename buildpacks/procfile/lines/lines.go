// Package lines reads a Procfile. It needs little, for the server, which wants to know of process types before a build.
package lines

import (
	"bufio"
	"bytes"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/gitd-io/gitd/internal/pattern"
)

// Process is one line of a Procfile.
type Process struct {
	Type    string
	Command string
}

// Names tells whether the command starts a program of that name, by whatever path.
func (p Process) Names(program string) bool {
	for _, w := range strings.Fields(p.Command) {
		if path.Base(strings.Trim(w, `"'`)) == program {
			return true
		}
	}
	return false
}

// Error says what is wrong with a Procfile, and what to do next.
type Error struct{ Text, Next string }

// Error implements error.
func (e *Error) Error() string { return e.Text }

func fail(next, format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Next: next}
}

var typeName = pattern.New(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Parse reads a Procfile: lines "type: command", comments after # at the start of a line, empty lines. The error, an *Error,
// names the first line that is neither.
func Parse(data []byte) ([]Process, error) {
	const next = "write lines such as web: ./server"
	if !utf8.Valid(data) {
		return nil, fail("save it as UTF-8", "the Procfile is not a text file")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var procs []Process
	seen := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, command, ok := strings.Cut(line, ":")
		name, command = strings.TrimSpace(name), strings.TrimSpace(command)
		switch {
		case !ok:
			return nil, fail(next, "line %d of the Procfile is not of the form type: command: %q", n, short(line))
		case !typeName.MatchString(name):
			return nil, fail("use letters, digits, '-', '_' and '.'", "line %d of the Procfile has a bad process type: %q", n, short(name))
		case command == "":
			return nil, fail(next, "line %d of the Procfile has no command for %s", n, name)
		case strings.ContainsRune(command, 0):
			return nil, fail("", "line %d of the Procfile has a null character", n)
		case seen[name] != 0:
			return nil, fail("keep one of them", "line %d of the Procfile defines %s again, after line %d", n, name, seen[name])
		}
		seen[name] = n
		procs = append(procs, Process{Type: name, Command: command})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(procs) == 0 {
		return nil, fail(next, "the Procfile names no process")
	}
	return procs, nil
}

func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
