package repository

import (
	"bytes"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxCommitBytes bounds the commit objects that we read.
const maxCommitBytes = 1 << 20

// headerValues returns the object IDs that are the values of one header of a commit.
func headerValues(commit []byte, name string) (values []plumbing.Hash) {
	head, _, _ := strings.Cut(string(commit), "\n\n")
	for l := range strings.SplitSeq(head, "\n") {
		if v, ok := strings.CutPrefix(l, name+" "); ok && IsID(v) {
			values = append(values, plumbing.NewHash(v))
		}
	}
	return values
}

// maxSubject is how much of a commit's message is read for its subject, in bytes.
const maxSubject = 4 << 10

// describe returns the name of a commit's author and its subject, as git log shows them (%an, %s). Both are what the commit claims, and may hold
// anything.
func describe(commit []byte) (author, subject string) {
	head, message, _ := bytes.Cut(commit, []byte("\n\n"))
	for line := range strings.SplitSeq(string(head), "\n") {
		if v, ok := strings.CutPrefix(line, "author "); ok {
			name, _, _ := strings.Cut(v, "<")
			author = strings.TrimSpace(name)
			break
		}
	}
	var lines []string
	for line := range strings.SplitSeq(string(message[:min(len(message), maxSubject)]), "\n") {
		line = strings.TrimRight(line, " \t\r")
		if line == "" && len(lines) > 0 {
			break
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return author, strings.Join(lines, " ")
}
