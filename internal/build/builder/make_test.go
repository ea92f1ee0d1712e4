package builder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/cachetest"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/gitd-io/gitd/internal/parts"
)

// fakeParts makes the folder of parts one whose gitd-builder is a script.
func fakeParts(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{parts.Buildpacks, parts.Lambda, parts.Lifecycle, parts.Launcher} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, parts.Builder), []byte("#!/bin/sh\nread request\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITD_PARTS", dir)
}

// TestOwn_PartsBesideGitd: without GITD_PARTS gitd finds the parts beside itself, and says where to gitd-builder, which is one of them.
func TestOwn_PartsBesideGitd(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fakeParts(t, `printf '{"Line": "parts: %s"}' "$GITD_PARTS"; exit 3`)
	dir := filepath.Join(filepath.Dir(exe), "parts")
	if err := os.Rename(os.Getenv("GITD_PARTS"), dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("GITD_PARTS", "")
	var told bytes.Buffer
	if _, err := Ensure(t.Context(), Options{Cache: t.TempDir(), Log: app.NewLog(&told)}); err == nil || told.String() != "parts: "+dir+"\n" {
		t.Errorf("told %q, error %v", told.String(), err)
	}
}

// TestOwn: gitd-builder is asked once, what it tells is in the log, and what it made is found. Its own content does not matter to the cache.
func TestOwn(t *testing.T) {
	dir, asked := t.TempDir(), filepath.Join(t.TempDir(), "asked")
	made := cachetest.Layout(t, map[string]v1.Image{cache.BuilderName: tinyBuilder(t, runtime.GOARCH, "run"), cache.RunName: cachetest.Image(t, "etc/run", runtime.GOARCH, nil)})
	script := `echo "$request" >>` + asked + `
printf '%s' '{"Line": "-----> Making the builder image\n"}{"Line": "       a detail"}'
for l in ` + dir + `/links/*; do cp -r ` + made + ` ` + dir + `/builder/$(basename $l); echo "{\"Made\": \"builder/$(basename $l)\"}"; done
exit 1 # what it made counts
`
	fakeParts(t, script)
	links := filepath.Join(dir, "links")
	name := func() {
		t.Helper()
		if err := os.RemoveAll(links); err != nil {
			t.Fatal(err)
		}
		link := filepath.Base(ownLink(t, dir))
		if err := os.MkdirAll(filepath.Join(links, link), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	name()
	var told bytes.Buffer
	for range 2 {
		b, err := Ensure(t.Context(), Options{Cache: dir, Log: app.NewLog(&told)})
		if err != nil {
			t.Fatal(err)
		}
		if b.UID != 1001 || len(b.Layers) != 1 {
			t.Errorf("builder %+v", b)
		}
	}
	if got := told.String(); got != "-----> Making the builder image\n       a detail\n" {
		t.Errorf("told %q", got)
	}
	before := ownLink(t, dir)
	if err := os.WriteFile(filepath.Join(os.Getenv("GITD_PARTS"), parts.Builder), []byte("#!/bin/sh\n# of another version\nexit 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), Options{Cache: dir}); err != nil || ownLink(t, dir) != before {
		t.Errorf("with another gitd-builder: %v", err)
	}
	requests, err := os.ReadFile(asked)
	if got := strings.TrimSpace(string(requests)); err != nil || got != `{"Cache":"`+dir+`"}` {
		t.Errorf("asked for %q, %v", got, err)
	}
}

func TestOwnFails(t *testing.T) {
	for what, c := range map[string]struct {
		script string
		code   app.Code
		says   string
	}{
		"in words":          {`echo '{"Failed": {"Code": "unavailable", "Message": "the disk is full", "Next": "free some"}}'; exit 1`, app.CodeUnavailable, "the disk is full"},
		"a defect":          {`echo '{"Failed": {"Code": "internal", "Message": "oh"}}'; exit 1`, app.CodeInternal, "oh"},
		"without a word":    {`echo "panic: oh" >&2; exit 3`, app.CodeInternal, "gitd-builder: exit status 3: panic: oh"},
		"half a word":       {`printf '%s' '{"Made": "buil'; exit 0`, app.CodeInternal, "unexpected EOF"},
		"no JSON":           {`echo 'oh'; while :; do sleep 0.05; done`, app.CodeInternal, "invalid character"},
		"what is not there": {`echo '{"Made": "builder/none"}'`, app.CodeInternal, "not in the cache"},
	} {
		t.Run(what, func(t *testing.T) {
			fakeParts(t, c.script)
			_, err := Ensure(t.Context(), Options{Cache: t.TempDir()})
			if app.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q (%s), want %q", err, app.CodeOf(err), c.says)
			}
		})
	}
	t.Run("it is missing", func(t *testing.T) {
		fakeParts(t, "")
		if err := os.Remove(filepath.Join(os.Getenv("GITD_PARTS"), parts.Builder)); err != nil {
			t.Fatal(err)
		}
		_, err := Ensure(t.Context(), Options{Cache: t.TempDir()})
		apptest.WantError(t, err, app.CodeUnavailable, "gitd-builder is missing")
	})
}

// TestOwnCancelled: gitd-builder is told to end, and has ended when Ensure returns with the cause.
func TestOwnCancelled(t *testing.T) {
	ended := filepath.Join(t.TempDir(), "ended")
	fakeParts(t, `trap 'touch `+ended+`; exit 1' TERM
printf '%s' '{"Line": "-----> begun\n"}'
while :; do sleep 0.05; done`)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the client went away")
	begun, w := io.Pipe()
	go func() {
		_, _ = begun.Read(make([]byte, 1))
		cancel(cause)
		_, _ = io.Copy(io.Discard, begun)
	}()
	start := time.Now()
	_, err := Ensure(ctx, Options{Cache: t.TempDir(), Log: app.NewLog(w)})
	if !errors.Is(err, cause) || time.Since(start) > stopTime {
		t.Errorf("ended with %v after %s", err, time.Since(start))
	}
	if _, err := os.Stat(ended); err != nil {
		t.Error(err)
	}
}

func ownLink(t *testing.T, dir string) string {
	t.Helper()
	c, err := cache.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := recipe.New(t.Context(), c, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return r.Link()
}
