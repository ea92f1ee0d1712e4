package sshd

import (
	"errors"
	"strings"
)

// maxCommand bounds the length of a command line in bytes, maxArguments the number of its words.
const (
	maxCommand   = 8 << 10
	maxArguments = 128
)

// split cuts a command line into words as a POSIX shell does, and expands nothing: single quotes, double quotes and
// backslashes. git quotes paths with single quotes, and ' and ! inside them as '\” and '\!'.
func split(line string) ([]string, error) {
	if len(line) > maxCommand {
		return nil, errors.New("the command is too long")
	}
	if strings.IndexByte(line, 0) >= 0 {
		return nil, errors.New("the command holds a NUL byte")
	}
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n', '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("the command has a quote that is not closed")
			}
			word.WriteString(line[i+1 : i+1+end])
			i += end + 1
		case '"':
			for i++; i < len(line) && line[i] != '"'; i++ {
				if line[i] == '\\' && i+1 < len(line) && strings.IndexByte("\\\"$`", line[i+1]) >= 0 {
					i++
				}
				word.WriteByte(line[i])
			}
			if i >= len(line) {
				return nil, errors.New("the command has a quote that is not closed")
			}
		case '\\':
			if i+1 >= len(line) {
				return nil, errors.New("the command ends in a backslash")
			}
			i++
			word.WriteByte(line[i])
		default:
			word.WriteByte(c)
		}
		inWord = true
		if len(words) >= maxArguments {
			return nil, errors.New("the command has too many words")
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
