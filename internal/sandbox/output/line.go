// Package output keeps what a container writes. A Writer runs in the container's shim: it takes lines from a pipe, puts the time before
// each, and bounds length, rate and size. Lines are read back with a Reader, also while a Writer is at work.
//
// An output is the file NAME with its newest lines, and NAME.1 with those before. Each line is "2006-01-02T15:04:05.000Z text". The
// package imports next to nothing, so that the shim stays small.
package output

import "time"

// TimeLayout is the time before a line: RFC 3339, UTC, with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Older is what the name of the file with the older lines ends in.
const Older = ".1"

// LongestLine is the length in bytes at which a line is broken into two.
const LongestLine = 16 << 10

// Line is one line of an output.
type Line struct {
	Time  time.Time
	Timed bool // Time was read from the line; else it is the time of what stands before it
	Text  string
}

// parse takes the time off a line. Lines of an earlier gitd have none.
func parse(b []byte) (at time.Time, text []byte, ok bool) {
	if len(b) <= len(TimeLayout) || b[len(TimeLayout)] != ' ' || b[len(TimeLayout)-1] != 'Z' {
		return time.Time{}, b, false
	}
	at, err := time.Parse(TimeLayout, string(b[:len(TimeLayout)]))
	if err != nil || at.Format(TimeLayout) != string(b[:len(TimeLayout)]) { // Parse takes more than what we write
		return time.Time{}, b, false
	}
	return at, b[len(TimeLayout)+1:], true
}

// appendLine appends a line with its time.
func appendLine(to []byte, now time.Time, text []byte) []byte {
	to = now.UTC().AppendFormat(to, TimeLayout)
	to = append(to, ' ')
	to = append(to, text...)
	return append(to, '\n')
}
