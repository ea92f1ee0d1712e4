package static

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// What a site writes becomes a part of nginx's configuration. Nothing of it gets there as it is: paths become regular expressions of letters, digits and
// escapes, targets are percent-encoded, values are quoted.

// unreserved are the bytes that a URL never encodes.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '~' || c == '/' || c == '.'
}

// literal matches a text in a request as it is sent, where bytes may be encoded; with decoded, in a path that nginx has decoded.
func literal(s string, decoded bool) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			b.WriteString(`\.`)
		case unreserved(c):
			b.WriteByte(c)
		case decoded:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			fmt.Fprintf(&b, `(?:\x%02x|%%(?i:%02x))`, c, c)
		}
	}
	return b.String()
}

var placeholder = regexp.MustCompile(`:[A-Za-z][A-Za-z0-9_]{0,30}`)

// expression makes a regular expression of a path, with the names of what it captures: /news/:id, /blog/*. With decoded it is for nginx's own path, and
// captures nothing.
func expression(path string, decoded bool) (re string, names []string) {
	rest, splat := strings.CutSuffix(path, "*")
	slash := false
	if splat && rest != "/" {
		rest, slash = strings.CutSuffix(rest, "/")
	}
	capture := func(name, pattern string) string {
		if decoded || slices.Contains(names, name) {
			return "(?:" + pattern + ")"
		}
		names = append(names, name)
		return "(?<r_" + name + ">" + pattern + ")"
	}
	var b strings.Builder
	b.WriteString("^")
	at := 0
	for _, m := range placeholder.FindAllStringIndex(rest, 10) {
		b.WriteString(literal(rest[at:m[0]], decoded) + capture(rest[m[0]+1:m[1]], "[^/?]+"))
		at = m[1]
	}
	b.WriteString(literal(strings.TrimSuffix(rest[at:], kit.Pick(splat, "", "/")), decoded))
	switch {
	case slash: // what follows begins with no slash: /:splat must not become //host
		b.WriteString("(?:/+" + capture("splat", "[^?]*") + ")?")
	case splat:
		b.WriteString(kit.Pick(rest == "/", "/*", "") + capture("splat", "[^?]*"))
	default:
		b.WriteString("/?")
	}
	return b.String() + kit.Pick(decoded, "$", `(?:\?|$)`), names
}

// target writes where a redirect goes, as a quoted word of nginx's configuration. What the path has captured is as it was sent, so that it holds no
// line breaks.
func (d redirect) target(names []string) string {
	var b strings.Builder
	encode := func(s string) {
		for i := range len(s) {
			if c := s[i]; unreserved(c) || strings.IndexByte(":?#[]@!&'()*+,=%", c) >= 0 {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
	}
	at := 0
	for _, m := range placeholder.FindAllStringIndex(d.to, -1) {
		if name := d.to[m[0]+1 : m[1]]; slices.Contains(names, name) {
			encode(d.to[at:m[0]])
			b.WriteString("${r_" + name + "}")
			at = m[1]
		}
	}
	encode(d.to[at:])
	if d.status >= 300 && d.status < 400 && !strings.Contains(d.to, "?") && !strings.Contains(d.to, "#") {
		b.WriteString("$is_args$args")
	}
	return `"` + b.String() + `"`
}

// render writes a redirect. root is the site, to find what a target without its ending is.
func (d redirect) render(root, indent string) string {
	re, names := expression(d.from, false)
	action := fmt.Sprintf("return %d", d.status)
	switch {
	case d.status == 200:
		d.to, _, _ = strings.Cut(d.to, "?")
		d.to, _, _ = strings.Cut(d.to, "#")
		for _, end := range []string{"", ".html", "/index.html"} {
			if kit.IsFile(root, filepath.FromSlash(d.to)+end) {
				d.to += end
				break
			}
		}
		action = "rewrite ^ " + d.target(names) + kit.Pick(d.force, " last", " break")
	case d.status < 400:
		action += " " + d.target(names)
	}
	return fmt.Sprintf("%sif ($request_uri ~ \"%s\") {\n%s    %s;\n%s}\n", indent, re, indent, action, indent)
}

// redirectLines are the redirects for requests that no file answers, or the forced ones.
func (r rules) redirectLines(root string, forced bool, indent string) string {
	var b strings.Builder
	for _, d := range r.redirects {
		if d.force == forced {
			b.WriteString(d.render(root, indent))
		}
	}
	return b.String()
}

// quoteValue writes a header's value as a word of nginx's configuration.
func quoteValue(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", "${dollar}").Replace(s) + `"`
}

// headerLines are the maps that give each header its value, and the lines that set them. Where several paths fit, their values are joined, as the form
// has it. cached is the variable that says how long a file is kept where the site says nothing.
func (r rules) headerLines(cached string) (maps, sets, types string) {
	var m, s, t strings.Builder
	last := map[string]string{} // by the header's name in lower case: the variable that has its value so far
	var order []header
	for i, h := range r.headers {
		key := strings.ToLower(h.name)
		if key == "content-type" {
			re, _ := expression(h.path, true)
			fmt.Fprintf(&t, "        location ~ \"%s\" {\n            types { }\n            default_type %s;\n        }\n", re, quoteValue(h.value))
			continue
		}
		re, _ := expression(h.path, false)
		re = strings.NewReplacer("(?<r_splat>", "(?:", `(?:\?|$)`, `(?:\?[^ ]*)? `).Replace(placeholderGroups.ReplaceAllString(re, "(?:"))
		re = strings.ReplaceAll(strings.ReplaceAll(re, "[^?]*", "[^? ]*"), "[^/?]+", "[^/? ]+")
		old, seen := last[key]
		v := fmt.Sprintf("$h_%d", i)
		if !seen {
			order = append(order, h)
			fmt.Fprintf(&m, "    map \"$request_uri \" %s {\n        default \"\";\n        \"~%s\" %s;\n    }\n", v, re, quoteValue(h.value))
		} else {
			joined := strings.TrimSuffix(quoteValue(h.value), `"`)[1:]
			fmt.Fprintf(&m, "    map \"$request_uri %s\" %s {\n        default %s;\n        \"~%s$\" %s;\n        \"~%s\" \"%s, %s\";\n    }\n", old, v, old, re, quoteValue(h.value), re, old, joined)
		}
		last[key] = v
	}
	for _, h := range order {
		v := last[strings.ToLower(h.name)]
		if strings.EqualFold(h.name, "Cache-Control") {
			fmt.Fprintf(&m, "    map %s $h_cache {\n        default %s;\n        \"\" %s;\n    }\n", v, v, cached)
			cached = "$h_cache"
			continue
		}
		fmt.Fprintf(&s, "        add_header %s %s always;\n", quoteValue(h.name), v)
	}
	fmt.Fprintf(&s, "        add_header Cache-Control %s;\n", cached)
	return m.String(), s.String(), t.String()
}

var placeholderGroups = regexp.MustCompile(`\(\?<r_[A-Za-z0-9_]+>`)
