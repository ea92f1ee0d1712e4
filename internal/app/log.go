package app

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Log writes the log of a push line by line, in the format known from Heroku: "-----> step", seven spaces
// before a detail, " !     " before an error. It passes only plain text and SGR colours: git 2.55 and newer masks every other
// escape sequence on the sideband. It is safe for concurrent use and writes only whole lines.
type Log struct {
	mu sync.Mutex
	// mu guards the following, and keeps lines whole.
	w       io.Writer
	copies  []io.Writer
	partial []byte
}

// NewLog returns a Log that writes to w. It ignores errors of w.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

// Copy sends every line from now on to w as well, and to w first.
func (l *Log) Copy(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copies = append(l.copies, w)
}

// Step writes the heading of a new step.
func (l *Log) Step(format string, args ...any) { l.lines("-----> ", fmt.Sprintf(format, args...)) }

// Detail writes a line of the current step.
func (l *Log) Detail(format string, args ...any) { l.lines("       ", fmt.Sprintf(format, args...)) }

// Error writes a line about what went wrong.
func (l *Log) Error(format string, args ...any) { l.lines(" !     ", fmt.Sprintf(format, args...)) }

// Fail writes err: what failed and why, then what to do next.
func (l *Log) Fail(err error) {
	m, next := Explain(err)
	l.Error("%s", m)
	if next != "" {
		l.Error("%s", next)
	}
}

// Replay writes a line of another process's Log.
func (l *Log) Replay(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emit("", strings.TrimRight(line, "\n"))
}

// Write takes the raw output of a tool and writes it as details, line by line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.emit("       ", string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
	if len(l.partial) > 64<<10 { // a tool that never ends its line must not fill the memory
		l.emit("       ", string(l.partial))
		l.partial = nil
	}
	return len(p), nil
}

// Flush writes an unfinished last line of Write.
func (l *Log) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.emit("       ", string(l.partial))
		l.partial = nil
	}
}

func (l *Log) lines(prefix, s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		l.emit(prefix, line)
	}
}

func (l *Log) emit(prefix, line string) {
	if i := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); i >= 0 { // a redrawn line: only its last state matters
		line = line[i+1:]
	}
	line = strings.TrimRight(prefix+Printable(line), " ") + "\n"
	for _, w := range l.copies {
		_, _ = io.WriteString(w, line)
	}
	_, _ = io.WriteString(l.w, line)
}
