package app

import (
	"regexp"
	"strings"
)

// MaxNameLength is the longest name of an app in bytes. It leaves room for "-v" and a release number in a revision's
// name, which is a DNS label of at most 63 bytes.
const MaxNameLength = 40

var nameForm = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// ParseName turns what stands behind the host in a remote's address ("hello", "/hello", "hello.git") into the name of an app.
// It returns an *Error with code InvalidName when the rest is no DNS label that starts with a letter, or is
// "gitd": the build cache of such an app would be among the registry's own images.
func ParseName(s string) (string, error) {
	n := strings.TrimSuffix(strings.TrimPrefix(s, "/"), ".git")
	why := ""
	switch {
	case n == "":
		why = "it is empty"
	case len(n) > MaxNameLength:
		why = "it is longer than 40 characters"
	case strings.ToLower(n) != n:
		why = "it has upper-case letters"
	case !nameForm.MatchString(n):
		why = "it must start with a letter and hold only a-z, 0-9 and single words joined by -"
	case n == "gitd":
		why = "gitd keeps images of its own under it"
	}
	if why != "" {
		return "", Errorf(InvalidName, "use a name like \"hello\" or \"my-app\": git remote set-url platform ssh://git@HOST:PORT/my-app",
			"invalid app name %q: %s", Clip(s, 60), why)
	}
	return n, nil
}
