package app

import (
	"regexp"
	"strings"
	"sync"
)

// MaxNameLength is the longest name of an app in bytes. It leaves room for "-v" and a release number in a revision's
// name, which is a DNS label of at most 63 bytes.
const MaxNameLength = 40

// Brokers is the label before the domain under which brokers take events over HTTP. No new app may have the name: it would get the tokens of those who send.
const Brokers = "broker"

// nameForm is compiled at first use.
var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`) })

// ParseName turns the path of a remote's URL ("hello", "/hello", "hello.git") into the name of an app.
// It returns an *Error with code CodeInvalidName if that is not a DNS label that starts with a letter, or is
// "gitd": the build cache of such an app would mix with gitd's own images. The names of previews are longer (MaxPreviewNameLength).
func ParseName(s string) (string, error) {
	n := strings.TrimSuffix(strings.TrimPrefix(s, "/"), ".git")
	why := ""
	switch {
	case n == "":
		why = "it is empty"
	case len(n) > MaxPreviewNameLength, len(n) > MaxNameLength && !strings.Contains(n, PreviewMark):
		why = "it is longer than 40 characters"
	case strings.ToLower(n) != n:
		why = "it has upper-case letters"
	case !nameForm().MatchString(n):
		why = "it must start with a letter and hold only a-z, 0-9 and single words joined by -"
	case n == "gitd":
		why = "gitd keeps images of its own under it"
	}
	if why != "" {
		return "", Errorf(CodeInvalidName, "use a name like \"hello\" or \"my-app\": git remote set-url platform ssh://git@HOST:PORT/my-app",
			"invalid app name %q: %s", Clip(s, 60), why)
	}
	return n, nil
}

// Tags that gitd gives to revisions. The app hello is also reached by TAG-hello, and its revisions are called hello-v1, hello-v2, …
const (
	GreenTag = "green" // the revision that is being rolled out
	BlueTag  = "blue"  // in older versions, the revision that served before; no app may have such a name
)

// Clash returns why two apps cannot have these names: one is a name that the other's revisions or addresses use. It returns "" if they can.
func Clash(a, b string) string {
	for _, p := range [][2]string{{a, b}, {b, a}} {
		long, short := p[0], p[1]
		if number, ok := strings.CutPrefix(long, short+"-v"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
			return "the releases of the app " + short + " are called " + short + "-v1 and so on"
		}
		for _, tag := range []string{GreenTag, BlueTag} {
			if long == tag+"-"+short {
				return long + " is the address of a release of the app " + short
			}
		}
	}
	return ""
}
