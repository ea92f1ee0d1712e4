package kit

import "strings"

// longestLine bounds a line that Lines keeps while it has not ended, in bytes.
const longestLine = 64 << 10

// Lines is a writer that calls Do with each line, without its line feed, when that has ended. Of a line that is longer than 64 KiB only an end is seen.
type Lines struct {
	Do func(line string)

	part string // the line that has not ended
}

// Write implements io.Writer. It never fails.
func (l *Lines) Write(p []byte) (int, error) {
	l.part += string(p)
	for {
		line, rest, ok := strings.Cut(l.part, "\n")
		if !ok {
			if len(l.part) > longestLine {
				l.part = ""
			}
			return len(p), nil
		}
		l.part = rest
		l.Do(line)
	}
}
