package maker

import (
	"bufio"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one place that apt gets packages from.
type source struct {
	URI      string
	Suite    string
	SignedBy string // path of a keyring; "" for apt's own
}

// hostSources returns where this machine gets Debian's own packages from, for the release: so its mirror is used for the image
// as well. Sources of others are left out. The result is empty where the machine is no Debian.
func hostSources(etc, release string) []source {
	own := osRelease(filepath.Join(etc, "os-release"))
	if own["ID"] != "debian" || own["VERSION_CODENAME"] == "" {
		return nil
	}
	return selectSources(aptSources(filepath.Join(etc, "apt")), own["VERSION_CODENAME"], release)
}

// aptSources reads the sources that a folder with apt's configuration names.
func aptSources(apt string) (all []source) {
	files, _ := filepath.Glob(filepath.Join(apt, "sources.list.d/*"))
	for _, f := range append([]string{filepath.Join(apt, "sources.list")}, files...) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		switch filepath.Ext(f) {
		case ".list":
			all = append(all, parseList(string(b))...)
		case ".sources":
			all = append(all, parseDeb822(string(b))...)
		}
	}
	return all
}

// selectSources keeps what is Debian's own, and turns the machine's release into the wanted one.
func selectSources(all []source, host, release string) []source {
	var kept []source
	for _, s := range all {
		suffix, ok := strings.CutPrefix(s.Suite, host)
		if !ok || !slices.Contains([]string{"", "-updates", "-security"}, suffix) {
			continue
		}
		if s.SignedBy != "" && !strings.HasPrefix(filepath.Base(s.SignedBy), "debian-archive-") {
			continue
		}
		s.Suite = release + suffix
		if s.URI = direct(s.URI); s.URI != "" && !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	if !slices.ContainsFunc(kept, func(s source) bool { return s.Suite == release }) {
		return nil // updates alone are no system
	}
	return kept
}

// direct returns the address of a server: that of a list of mirrors is the first that the list names. It is empty for what only this machine can
// read, such as a disc.
func direct(uri string) string {
	if file, ok := strings.CutPrefix(uri, "mirror+file:"); ok {
		b, err := os.ReadFile(filepath.Clean("/" + strings.TrimLeft(file, "/")))
		if err != nil {
			return ""
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 0 && f[0][0] != '#' {
				uri = f[0]
				break
			}
		}
	}
	if strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://") {
		return uri
	}
	return ""
}

// String writes the source in apt's one-line form.
func (s source) String() string {
	options := ""
	if s.SignedBy != "" {
		options = "[signed-by=" + s.SignedBy + "] "
	}
	return "deb " + options + s.URI + " " + s.Suite + " main"
}

// withoutPasswords leaves out the passwords that addresses may hold: images must not.
func withoutPasswords(sources []source) []source {
	kept := slices.Clone(sources)
	for i := range kept {
		if u, err := url.Parse(kept[i].URI); err == nil && u.User != nil {
			u.User = nil
			kept[i].URI = u.String()
		}
	}
	return kept
}

func lines(sources []source) string {
	var b strings.Builder
	for _, s := range sources {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// parseList reads apt's one-line form: deb [options] uri suite component... Only binary packages of the component main count.
func parseList(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		rest, ok := strings.CutPrefix(line, "deb")
		if !ok || rest == "" || (rest[0] != ' ' && rest[0] != '\t') {
			continue
		}
		rest = strings.TrimSpace(rest)
		s := source{}
		if strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			for _, o := range strings.Fields(options) {
				if v, ok := strings.CutPrefix(strings.ToLower(o), "signed-by="); ok {
					s.SignedBy = o[len(o)-len(v):]
				}
			}
			rest = after
		}
		f := strings.Fields(rest)
		if len(f) < 3 || !slices.Contains(f[2:], "main") {
			continue
		}
		s.URI, s.Suite = f[0], f[1]
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads apt's stanza form.
func parseDeb822(text string) []source {
	var all []source
	fields := map[string]string{}
	last := ""
	flush := func() {
		defer func() { fields, last = map[string]string{}, "" }()
		if fields["enabled"] == "no" || !slices.Contains(strings.Fields(fields["types"]), "deb") || !slices.Contains(strings.Fields(fields["components"]), "main") {
			return
		}
		signed := fields["signed-by"]
		if strings.ContainsAny(signed, "\n ") {
			signed = "embedded" // a key in the file itself is not Debian's
		}
		for _, uri := range strings.Fields(fields["uris"]) {
			for _, suite := range strings.Fields(fields["suites"]) {
				all = append(all, source{URI: uri, Suite: suite, SignedBy: signed})
			}
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "":
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if ok {
				last = strings.ToLower(strings.TrimSpace(name))
				fields[last] = strings.TrimSpace(value)
			}
		}
	}
	flush()
	return all
}

func osRelease(file string) map[string]string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	return parseOSRelease(f)
}

// parseOSRelease reads the form of os-release(5).
func parseOSRelease(r io.Reader) map[string]string {
	values := map[string]string{}
	for s := bufio.NewScanner(r); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			values[k] = strings.Trim(v, `"'`)
		}
	}
	return values
}
