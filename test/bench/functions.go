package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// plainApps are the apps that functions of a language are measured beside.
var plainApps = map[string]string{"go": "go", "nodejs": "node", "typescript": "node", "python": "python", "bootstrap": "python"}

// functions measures the first request to a function at zero beside one to a plain app in the same language, for each example.
func (b *bench) functions() error {
	dir := filepath.Join(b.repo, "examples", "functions")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	all := map[string]string{} // app → its source
	for _, e := range entries {
		plain := plainApps[strings.Split(e.Name(), "-")[0]]
		if e.IsDir() && plain != "" {
			all[e.Name()], all["plain-"+plain] = filepath.Join(dir, e.Name()), filepath.Join(b.repo, "examples", plain)
		}
	}
	first := map[string]samples{}
	for app, from := range all {
		took, err := b.pushFunction(app, from)
		if err != nil {
			return fmt.Errorf("%s: %w", app, err)
		}
		first[app] = samples{took.Seconds()}
	}
	cold := map[string]samples{}
	for range b.rounds(3, 1) {
		b.say("  waiting for %d apps to be at zero", len(all))
		for app := range all {
			if err := b.atZero(app); err != nil {
				return err
			}
		}
		for app := range all {
			took, err := b.coldFunction(app)
			if err != nil {
				return fmt.Errorf("%s: %w", app, err)
			}
			s := cold[app]
			s.add(took)
			cold[app] = s
			b.say("  %s %s", app, seconds(took.Seconds()))
		}
	}
	b.report.title("Functions: first answer from zero, against a plain app in the same language")
	var names []string
	for app := range all {
		if !strings.HasPrefix(app, "plain-") {
			names = append(names, app)
		}
	}
	slices.Sort(names)
	for _, app := range names {
		b.report.ratio(app, cold[app], cold["plain-"+plainApps[strings.Split(app, "-")[0]]], 0)
		b.report.duration(app+", first push → live", first[app])
	}
	return nil
}

// pushFunction pushes an app that is at zero soon after a request.
func (b *bench) pushFunction(app, from string) (time.Duration, error) {
	s, err := b.useServer()
	if err != nil {
		return 0, err
	}
	src := &source{dir: filepath.Join(b.dir, "source", app)}
	if err := os.MkdirAll(filepath.Dir(src.dir), 0o755); err != nil {
		return 0, err
	}
	if err := os.CopyFS(src.dir, os.DirFS(from)); err != nil {
		return 0, err
	}
	descriptor, err := os.ReadFile(filepath.Join(src.dir, "project.toml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if err := src.write("project.toml", string(descriptor)+"\n[io.gitd.web]\nwindow = \""+coldWindow+"\"\nmax-scale = 1\n"); err != nil {
		return 0, err
	}
	if err := b.commit(src); err != nil {
		return 0, err
	}
	b.say("first push of %s", app)
	took, _, err := s.push(app, src)
	return took, err
}

// atZero waits until no instance of an app is left.
func (b *bench) atZero(app string) error {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		c, cancel := context.WithTimeout(b.ctx, time.Minute)
		out, err := exec.CommandContext(c, b.server.gitd, "ps", app, "--json", "--data", b.server.data).Output()
		cancel()
		if err != nil {
			return err
		}
		var ps struct{ Instances []json.RawMessage }
		if err := json.Unmarshal(out, &ps); err != nil {
			return err
		}
		if len(ps.Instances) == 0 {
			time.Sleep(time.Second) // the machine cleans up
			return nil
		}
	}
	return fmt.Errorf("%s is not at zero three minutes after its last request", app)
}

// coldFunction sends one request that every function takes, or refuses: the answer is not what is measured.
func (b *bench) coldFunction(app string) (time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPost, "http://"+b.server.HTTP+"/", bytes.NewReader([]byte(`{"text":"hello"}`)))
	if err != nil {
		return 0, err
	}
	r.Host = app + ".localhost"
	for name, value := range map[string]string{"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/bench", "Ce-Type": "bench"} {
		r.Header.Set(name, value)
	}
	began := time.Now()
	a, err := client.Do(r)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	if a.StatusCode >= http.StatusInternalServerError {
		return 0, fmt.Errorf("answered %s", a.Status)
	}
	return took, nil
}
