package dotnet

import (
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// both writes to a place for people, and to what looks for the cause of a failure.
type both struct {
	people io.Writer
	reader *reader
}

// Write implements io.Writer.
func (w *both) Write(p []byte) (int, error) {
	_, _ = w.reader.Write(p) // cannot fail
	return w.people.Write(p)
}

// reader keeps the first errors of what MSBuild prints.
type reader struct {
	part   string // the line that has not ended
	errors []finding
	notes  []string // lines after the first error that belong to it
}

// finding is an error: where, its code, and its words.
type finding struct{ place, code, text string }

const maxFindings = 50

// An error of MSBuild's: "FILE(LINE,COLUMN): error CODE: TEXT [PROJECT]", without a place, or with the program before it.
var errorLine = pattern.New(`^\s*(?:(.+?)(?:\((\d+)(?:,(\d+)(?:,\d+,\d+)?)?\))?\s*: )?(?:[a-z]+ )?error ([A-Z]{2,10}\d{2,5})?\s*: (.*)$`)

// Write implements io.Writer.
func (r *reader) Write(p []byte) (int, error) {
	r.part += string(p)
	for {
		line, rest, ok := strings.Cut(r.part, "\n")
		if !ok {
			if len(r.part) > 64<<10 {
				r.part = ""
			}
			return len(p), nil
		}
		r.part = rest
		r.line(strings.TrimRight(line, "\r"))
	}
}

func (r *reader) line(line string) {
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

// reason puts the cause of a failure into the error.
func (b *build) reason(r *reader, said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) || e.Lack != "" {
		return err
	}
	if len(r.errors) == 0 {
		return err
	}
	f := r.errors[0]
	text := f.text
	if f.code != "" {
		text += " (" + f.code + ")"
	}
	if place := b.short(f.place); place != "" {
		text = place + ": " + text
	}
	return kit.Errorf(e.Next, "%s: %s", e.Message, text)
}

// short is a place below the app, without the app's folder.
func (b *build) short(place string) string {
	if rel, err := filepath.Rel(b.app, place); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	if strings.HasPrefix(place, b.sdk.root) && b.sdk.root != "" {
		return ""
	}
	return place
}
