package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// records are files by their digest, whose time is when the package passed.
type records string

func openRecords() (records, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	r := records(filepath.Join(cache, "gitd-test", "passed"))
	return r, os.MkdirAll(string(r), 0o755)
}

// passed tells when what has this digest passed, if that still counts.
func (r records) passed(digest string, now time.Time) (time.Time, bool) {
	fi, err := os.Stat(filepath.Join(string(r), digest))
	if err != nil || now.Sub(fi.ModTime()) > kept || fi.ModTime().After(now.Add(time.Minute)) {
		return time.Time{}, false
	}
	return fi.ModTime(), true
}

// note makes a record; its content is for people.
func (r records) note(pkg, digest string, now time.Time) error {
	file := filepath.Join(string(r), digest)
	if err := os.WriteFile(file, []byte(pkg+"\n"), 0o644); err != nil {
		return err
	}
	return os.Chtimes(file, now, now)
}

// sweep removes the records that no longer count.
func (r records) sweep(now time.Time) error {
	all, err := os.ReadDir(string(r))
	if err != nil {
		return err
	}
	for _, e := range all {
		if _, ok := r.passed(e.Name(), now); !ok {
			if err := os.Remove(filepath.Join(string(r), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstTry reads gotestsum's file: the packages that ran and in which no test ever failed, and the scripts. One that failed and passed when it ran again is not among them, nor is
// a result that go test took from its own cache, since that knows less than a digest here.
func firstTry(f io.Reader) (map[string]bool, error) {
	good, bad := map[string]bool{}, map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		name := e.Package
		if strings.HasPrefix(e.Test, scriptTest) {
			name = e.Test
		}
		switch {
		case e.Action == "fail" || e.Action == "build-fail" || e.Action == "output" && e.Test == "" && strings.HasPrefix(e.Output, "ok ") && strings.Contains(e.Output, "(cached)"):
			bad[name] = true
		case e.Action == "pass" && (e.Test == "" || name == e.Test):
			good[name] = true
		}
	}
	for p := range bad {
		delete(good, p)
	}
	return good, lines.Err()
}
