package static

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// rules are what a site says of redirects and headers, in the forms of Netlify and Cloudflare Pages.
type rules struct {
	redirects []redirect
	headers   []header
	ignored   []string // lines that are not followed, with the reason
}

// redirect is a line of _redirects.
type redirect struct {
	from   string
	to     string
	status int  // 200 answers with another file
	force  bool // also where there is a file
}

// header is a header of the responses to a path.
type header struct{ path, name, value string }

// The limits of Cloudflare Pages, which are the narrower ones.
const (
	maxRedirects = 2100
	maxHeaders   = 500
	maxLine      = 2000
)

func (r *rules) ignore(file string, n int, format string, args ...any) {
	if len(r.ignored) < 20 {
		r.ignored = append(r.ignored, fmt.Sprintf("line %d of %s is not followed: %s", n, file, fmt.Sprintf(format, args...)))
	}
}

// parseRedirects reads _redirects: lines FROM TO [STATUS][!], # before a comment.
func (r *rules) parseRedirects(text string) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(" "+strings.TrimSpace(line), " #")
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
			continue
		case len(line) > maxLine:
			r.ignore("_redirects", n, "it is longer than %d bytes", maxLine)
			continue
		case len(r.redirects) >= maxRedirects:
			r.ignore("_redirects", n, "there are more than %d", maxRedirects)
			return
		}
		d, err := parseRedirect(f)
		if err != nil {
			r.ignore("_redirects", n, "%v", err)
			continue
		}
		r.redirects = append(r.redirects, d)
	}
}

func parseRedirect(f []string) (redirect, error) {
	d := redirect{from: f[0], status: 301}
	if len(f) < 2 {
		return d, fmt.Errorf("it names no target")
	}
	if d.to = f[1]; len(f) > 2 {
		status, force := strings.CutSuffix(f[2], "!")
		n, err := strconv.Atoi(status)
		if err != nil {
			return d, fmt.Errorf("%q is no status: conditions and parameters of queries are not known", f[2])
		}
		d.status, d.force = n, force
	}
	if len(f) > 3 {
		return d, fmt.Errorf("conditions such as %q are not known", f[3])
	}
	return d, d.check()
}

// check tells what cannot be followed.
func (d redirect) check() error {
	remote := strings.HasPrefix(d.to, "https://") || strings.HasPrefix(d.to, "http://")
	switch {
	case !strings.HasPrefix(d.from, "/"):
		return fmt.Errorf("%q is no path of the site", d.from)
	case strings.Contains(strings.TrimSuffix(d.from, "*"), "*"):
		return fmt.Errorf("* stands at the end of a path only")
	case strings.Contains(d.from, "?"):
		return fmt.Errorf("queries are not compared")
	case !remote && !strings.HasPrefix(d.to, "/"):
		return fmt.Errorf("%q is neither a path nor an address", d.to)
	case d.status == 200 && remote:
		return fmt.Errorf("requests are not passed on to other servers")
	}
	switch d.status {
	case 200, 301, 302, 303, 307, 308, 404, 410:
		return nil
	}
	return fmt.Errorf("the status %d is not known", d.status)
}

// headerName is a token of HTTP.
var headerName = regexp.MustCompile(`^[A-Za-z0-9!#%&'*+.^_|~-]{1,100}$`)

// notSet are headers that belong to the server.
var notSet = map[string]bool{"connection": true, "content-length": true, "content-encoding": true, "transfer-encoding": true, "date": true, "server": true, "location": true, "trailer": true, "upgrade": true, "etag": true, "last-modified": true}

// parseHeaders reads _headers: a path, and below it, indented, NAME: VALUE.
func (r *rules) parseHeaders(text string) error {
	n, path := 0, ""
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
			continue
		case line == trimmed: // not indented
			if path = trimmed; !strings.HasPrefix(path, "/") || strings.Contains(strings.TrimSuffix(path, "*"), "*") || len(path) > maxLine {
				r.ignore("_headers", n, "it is no path of the site, or has a * that is not at its end")
				path = ""
			}
			continue
		case path == "":
			continue
		}
		name, value, ok := strings.Cut(trimmed, ":")
		if !ok {
			r.ignore("_headers", n, "it is not of the form NAME: VALUE")
			continue
		}
		if err := r.header("_headers", n, path, name, value); err != nil {
			return err
		}
	}
	return nil
}

// header adds a header, or notes why it cannot be.
func (r *rules) header(file string, n int, path, name, value string) error {
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	printable := !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' })
	switch {
	case strings.EqualFold(name, "Basic-Auth"):
		return kit.Errorf("take it out, and ask for a password in the app or in front of it", "%s protects %s with a password, which is not supported: the site would be open", file, path)
	case !headerName.MatchString(name), !printable, len(value) > maxLine:
		r.ignore(file, n, "it is no header of HTTP")
	case notSet[strings.ToLower(name)]:
		r.ignore(file, n, "%s belongs to the server", name)
	case len(r.headers) >= maxHeaders:
		r.ignore(file, n, "there are more than %d", maxHeaders)
	default:
		r.headers = append(r.headers, header{path, name, value})
	}
	return nil
}
