package fsck

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/gitd-io/gitd/internal/repository/gitconfig"
)

// attributesLine is the length of a line from which on git does not read .gitattributes.
const attributesLine = 2048

// Attributes checks a .gitattributes file.
func (c *Checker) Attributes(data []byte) error {
	for len(data) > 0 && data[0] != 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if i := bytes.IndexByte(line, 0); i >= 0 {
			line, rest = line[:i], nil
		}
		if len(line) >= attributesLine {
			return c.problem("gitattributesLineLength", ".gitattributes has too long lines to parse")
		}
		data = rest
	}
	return nil
}

// Modules checks a .gitmodules file: names and paths that lead elsewhere, and URLs and commands that would be run.
func (c *Checker) Modules(data []byte) error {
	// Like git, take what comes before a syntax error, and do not mind the error.
	var problem error
	gitconfig.Parse(data, func(v gitconfig.Variable) {
		if v.Section != "submodule" || v.Subsection == gitconfig.NoSubsection || problem != nil {
			return
		}
		name, value := v.Subsection, v.Value
		switch {
		case !moduleName(name):
			problem = c.problem("gitmodulesName", "disallowed submodule name: "+name)
		case v.Key == "url" && v.HasValue && !moduleURL(value):
			problem = c.problem("gitmodulesUrl", "disallowed submodule url: "+value)
		case v.Key == "path" && v.HasValue && strings.HasPrefix(value, "-"):
			problem = c.problem("gitmodulesPath", "disallowed submodule path: "+value)
		case v.Key == "update" && v.HasValue && strings.HasPrefix(value, "!"):
			problem = c.problem("gitmodulesUpdate", "disallowed submodule update setting: "+value)
		}
	})
	return problem
}

// moduleName says whether a name stays in .git/modules.
func moduleName(name string) bool {
	if name == "" {
		return false
	}
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return false
		}
	}
	return true
}

// moduleURL says whether a URL is safe to be handed to git's transports.
func moduleURL(s string) bool {
	if strings.HasPrefix(s, "-") {
		return false
	}
	if up, rest, relative := cutDots(s); relative || strings.HasPrefix(s, "git://") {
		// It may become part of an HTTP URL.
		return !strings.Contains(unescape(s), "\n") && !(up && rest != "" && (rest[0] == ':' || rest[0] == '/'))
	}
	for _, scheme := range []string{"http", "https", "ftp", "ftps"} {
		if rest, ok := strings.CutPrefix(s, scheme+"::"); ok {
			return credentialURL(rest)
		}
		if strings.HasPrefix(s, scheme+"://") {
			return credentialURL(s)
		}
	}
	return true
}

// cutDots cuts "./" and "../" off the front. up says whether there was one of the latter, relative whether there was any.
func cutDots(s string) (up bool, rest string, relative bool) {
	slash := func(s string) bool { return s != "" && (s[0] == '/' || s[0] == '\\') }
	for {
		switch {
		case strings.HasPrefix(s, "..") && slash(s[2:]):
			up, relative, s = true, true, s[3:]
		case strings.HasPrefix(s, ".") && slash(s[1:]):
			relative, s = true, s[2:]
		default:
			return up, s, relative
		}
	}
}

// credentialURL says whether a URL names a host, and has no line break that would become part of what git asks its
// credential helpers.
func credentialURL(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" {
		return false
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		if strings.Contains(unescape(host[:i]), "\n") {
			return false
		}
		host = host[i+1:]
	}
	host = unescape(host)
	return host != "" && !strings.Contains(scheme+host+unescape(path), "\n")
}

// unescape undoes percent escapes where they are sound.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if u, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(u)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
