package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// look asks the app for its first page, and for up to 25 scripts, styles and images of it.
func (t *trial) look(ctx context.Context) error {
	at := &url.URL{Path: "/"}
	if t.Get != "" {
		var err error
		if at, err = url.Parse(t.Get); err != nil {
			return err
		}
	}
	status, page, err := t.follow(ctx, at)
	if err != nil {
		return err
	}
	t.served = fmt.Sprintf("%d %s", status, gist(page))
	fmt.Fprintf(t.log, "GET %s: %s\n%s\n", at, t.served, page[:min(len(page), 2000)])
	switch {
	case t.Status != 0 && status != t.Status, t.Status == 0 && status >= http.StatusBadRequest:
		return fmt.Errorf("GET %s: status %d: %s", at, status, firstLine(page))
	}
	for _, ref := range parts(page) {
		u, err := at.Parse(ref)
		if err != nil || u.Host != "" {
			continue
		}
		if status, _, err := t.follow(ctx, u); err != nil || status != http.StatusOK {
			return fmt.Errorf("GET %s, which the page names: status %d, %v", u, status, err)
		}
	}
	return nil
}

// follow asks, and goes where the app sends it as long as that is the app.
func (t *trial) follow(ctx context.Context, at *url.URL) (status int, body string, err error) {
	for range 10 {
		r, err := t.stage.Get(ctx, t.app(), at.RequestURI())
		if err != nil {
			return 0, "", err
		}
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		r.Body.Close()
		if err != nil {
			return 0, "", err
		}
		next, err := r.Location()
		if err != nil || !strings.HasPrefix(next.Host, t.app()+".") {
			return r.StatusCode, string(b), nil
		}
		at = next
	}
	return 0, "", fmt.Errorf("GET %s: more than 10 redirects", at)
}

var (
	title   = regexp.MustCompile(`(?is)<title[^>]*>\s*(.*?)\s*</title>`)
	unread  = regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(script|style|head)>|<[^>]*>`)
	spacing = regexp.MustCompile(`\s+`)
)

// gist is what a person sees of a page first: its title and the beginning of its text.
func gist(page string) string {
	text := strings.TrimSpace(spacing.ReplaceAllString(unread.ReplaceAllString(page, " "), " "))
	text = text[:min(len(text), 80)]
	if m := title.FindStringSubmatch(page); m != nil {
		text = fmt.Sprintf("%q %s", m[1], text)
	}
	return strings.TrimSpace(text)
}

var part = regexp.MustCompile(`(?i)<(?:script|img|link)\b[^>]*?\b(?:src|href)\s*=\s*["']([^"'#{}<>]+)["']`)

// parts returns what a page loads: scripts, styles, images.
func parts(page string) (refs []string) {
	seen := map[string]bool{}
	for _, m := range part.FindAllStringSubmatch(page, -1) {
		tag := strings.ToLower(m[0])
		if strings.HasPrefix(tag, "<link") && !strings.Contains(tag, "stylesheet") && !strings.Contains(tag, "modulepreload") {
			continue
		}
		ref := strings.ReplaceAll(m[1], "&amp;", "&")
		if strings.HasPrefix(ref, "data:") || seen[ref] {
			continue
		}
		if seen[ref] = true; len(refs) < 25 {
			refs = append(refs, ref)
		}
	}
	return refs
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s[:min(len(s), 200)]
}
