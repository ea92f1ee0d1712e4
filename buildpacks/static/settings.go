package static

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// settings are what the files of other platforms say of a site: Staticfile (Cloud Foundry) and static.json (Heroku).
type settings struct {
	root       string
	spa, https bool
	noSPA      bool // said so
	dotFiles   bool
	listing    bool
	hsts       bool
	password   bool // Staticfile.auth
	ignored    []string
	redirects  []redirect
	headers    []header
}

// readSettings reads them where they are there.
func readSettings(app string) (s settings, err error) {
	if kit.IsFile(app, "Staticfile") {
		s.root = "."
		s.staticfile(kit.Text(app, "Staticfile"))
	}
	s.password = kit.IsFile(app, "Staticfile.auth")
	if kit.IsFile(app, "static.json") {
		err = s.staticJSON(kit.Text(app, "static.json"))
	}
	if s.root == "" {
		return s, err
	}
	if !filepath.IsLocal(s.root) {
		return s, kit.Errorf("name a folder of the app", "the root of the site is %s, which is outside of the app", s.root)
	}
	if err == nil && !kit.IsDir(app, s.root) {
		return s, kit.Errorf("name a folder of the app", "the root of the site is %s, which is not there", s.root)
	}
	return s, err
}

// staticfile reads lines KEY: VALUE.
func (s *settings) staticfile(text string) {
	on := func(v string) bool {
		return slices.Contains([]string{"true", "enabled", "yes", "on", "visible"}, strings.ToLower(v))
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		key, value, _ := strings.Cut(line, ":")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch key = strings.TrimSpace(key); key {
		case "", "---":
		case "root":
			s.root = strings.Trim(value, "/")
		case "pushstate", "index_fallback":
			s.spa, s.noSPA = on(value), !on(value)
		case "force_https":
			s.https = on(value)
		case "host_dot_files":
			s.dotFiles = on(value)
		case "directory":
			s.listing = on(value)
		case "http_strict_transport_security":
			s.hsts = on(value)
		default:
			s.ignored = append(s.ignored, fmt.Sprintf("%s in Staticfile is not followed", key))
		}
	}
}

// staticJSON reads static.json.
func (s *settings) staticJSON(text string) error {
	var j struct {
		Root      string                       `json:"root"`
		HTTPS     bool                         `json:"https_only"`
		Routes    map[string]string            `json:"routes"`
		Headers   map[string]map[string]string `json:"headers"`
		Redirects map[string]struct {
			URL    string `json:"url"`
			Status int    `json:"status"`
		} `json:"redirects"`
		Proxies   map[string]any `json:"proxies"`
		BasicAuth any            `json:"basic_auth"`
	}
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return kit.Errorf("correct it", "static.json cannot be read: %v", err)
	}
	if on, _ := j.BasicAuth.(bool); on {
		return kit.Errorf("take it out, and ask for a password in the app or in front of it", "static.json asks for basic_auth, which is not supported: the site would be open")
	}
	if len(j.Proxies) > 0 {
		s.ignored = append(s.ignored, "proxies in static.json are not followed: requests are not passed on to other servers")
	}
	s.root, s.https = strings.Trim(kit.Pick(j.Root == "", "public_html", j.Root), "/"), j.HTTPS
	if s.root == "" {
		s.root = "."
	}
	for _, from := range slices.Sorted(maps.Keys(j.Routes)) {
		if from == "/**" {
			s.spa = strings.TrimPrefix(j.Routes[from], "/") == "index.html"
			continue
		}
		s.add(redirect{from: strings.Replace(from, "**", "*", 1), to: "/" + strings.TrimPrefix(j.Routes[from], "/"), status: 200})
	}
	for _, from := range slices.Sorted(maps.Keys(j.Redirects)) {
		r := j.Redirects[from]
		s.add(redirect{from: from, to: r.URL, status: max(r.Status, 301), force: true})
	}
	for _, path := range slices.Sorted(maps.Keys(j.Headers)) {
		for _, name := range slices.Sorted(maps.Keys(j.Headers[path])) {
			s.headers = append(s.headers, header{strings.Replace(path, "**", "*", 1), name, j.Headers[path][name]})
		}
	}
	return nil
}

func (s *settings) add(d redirect) {
	if err := d.check(); err != nil {
		s.ignored = append(s.ignored, fmt.Sprintf("%s in static.json is not followed: %v", d.from, err))
		return
	}
	s.redirects = append(s.redirects, d)
}

// rules reads _redirects and _headers of the site, and adds what the settings say.
func (s settings) rules(root string) (r rules, err error) {
	r.parseRedirects(kit.Text(root, "_redirects"))
	r.redirects = append(r.redirects, s.redirects...)
	if err := r.parseHeaders(kit.Text(root, "_headers")); err != nil {
		return r, err
	}
	for _, h := range s.headers {
		if !strings.HasPrefix(h.path, "/") || strings.Contains(strings.TrimSuffix(h.path, "*"), "*") {
			r.ignored = append(r.ignored, h.path+" in static.json is not followed: * stands at the end of a path only")
			continue
		}
		if err := r.header("static.json", 1, h.path, h.name, h.value); err != nil {
			return r, err
		}
	}
	if s.hsts {
		r.headers = append(r.headers, header{"/*", "Strict-Transport-Security", "max-age=31536000"})
	}
	r.ignored = append(slices.Clone(s.ignored), r.ignored...)
	return r, nil
}
