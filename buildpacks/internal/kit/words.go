package kit

import (
	"strings"

	"github.com/buildpacks/libcnb"
)

// Pick is yes or no, by the condition.
func Pick(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// Quote makes a text one word of the shell.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// WebLine is a web process that is a line of the shell.
func WebLine(line string) *libcnb.Process {
	return &libcnb.Process{Type: "web", Command: "/bin/sh", Arguments: []string{"-c", line}, Direct: true}
}
