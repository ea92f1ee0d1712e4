package command

import (
	"strings"

	"github.com/gitd-io/gitd/internal/secret"
)

// masked stands for what a log does not have.
const masked = "…"

// Loggable is a command line for a log. Of a command whose arguments may hold secrets, and of one that does not exist and may be such a one with a slip of
// the pen in it, it has the first words, flags and names of variables alone.
func Loggable(args []string) string {
	asked, err := Declared(args)
	if err == nil && !asked.Secret {
		return strings.Join(args, " ")
	}
	words := make([]string, len(args))
	for i, w := range args {
		name, _, assigns := strings.Cut(w, "=")
		switch {
		case assigns && (secret.CheckName(name) == nil || strings.HasPrefix(name, "--") && flagName(name)):
			words[i] = name + "=" + masked
		case assigns || i > 2 && !flagName(w):
			words[i] = masked
		default:
			words[i] = w
		}
	}
	return strings.Join(words, " ")
}

// flagName says whether a word is a flag without a value.
func flagName(w string) bool {
	return strings.HasPrefix(w, "-") && strings.Trim(w, "-abcdefghijklmnopqrstuvwxyz") == ""
}
