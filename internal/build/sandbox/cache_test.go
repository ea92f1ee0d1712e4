package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/disk"
)

func TestCache(t *testing.T) {
	f := newFixture(t)
	s := script("ls $BP_CACHE_MOUNT", "[ -d $L/kept ] && cat $L/kept/file && cat $L/kept.toml", "echo saved > $BP_CACHE_MOUNT/before",
		"mkdir -p $L/kept", "echo layer content > $L/kept/file", `printf '[types]\ncache = true\n[metadata]\nversion = "1.2"\n' > $L/kept.toml`)
	_, log := f.mustBuild(s)
	if strings.Contains(log, "before") {
		t.Errorf("a first build finds a cache:\n%s", log)
	}
	_, log = f.mustBuild(s)
	wantLines(t, log, "       before\n", "       layer content\n", `version = "1.2"`)
	if strings.Contains(log, "cache = true") {
		t.Errorf("the types were restored too:\n%s", log)
	}
	_, log, err := f.build(context.Background(), s, func(r *build.Request) { r.App = "other" })
	if err != nil || strings.Contains(log, "before") {
		t.Errorf("%v: another app's build sees the cache:\n%s", err, log)
	}
	_, log, err = f.build(context.Background(), s, func(r *build.Request) { r.ClearCache = true })
	if err != nil || strings.Contains(log, "before") || strings.Contains(log, "layer content") {
		t.Errorf("%v: the cache was not cleared:\n%s", err, log)
	}
	_, log, err = f.build(context.Background(), script("head -c 3000000 /dev/zero > $BP_CACHE_MOUNT/big"), func(r *build.Request) { r.Limits.Cache = 1 << 20 })
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, log, "over its limit of 1 MiB: what was downloaded, big was removed, the next build fetches it again")
	_, log = f.mustBuild(s)
	if strings.Contains(log, "big") || !strings.Contains(log, "before") {
		t.Errorf("the large file is still there, or the rest is gone:\n%s", log)
	}
	if err := f.PurgeCache("hello"); err != nil {
		t.Fatal(err)
	}
	_, log = f.mustBuild(s)
	if strings.Contains(log, "before") {
		t.Errorf("the cache was not purged:\n%s", log)
	}
	if err := f.PurgeCache("../hello"); err == nil {
		t.Error("PurgeCache took a path")
	}
}

// TestCacheOf: the first build of an app begins with a copy of another one's cache, where that is asked for. What it does with that, the other one does not see.
func TestCacheOf(t *testing.T) {
	f := newFixture(t)
	hello := app.App{ID: 3, Name: "hello"}
	keep := script("mkdir -p $BP_CACHE_MOUNT/sub $L/kept", "echo saved >> $BP_CACHE_MOUNT/sub/before", "ln -sf sub/before $BP_CACHE_MOUNT/link",
		"echo layer content > $L/kept/file", `printf '[types]\ncache = true\n' > $L/kept.toml`)
	look := script("cat $BP_CACHE_MOUNT/sub/before $BP_CACHE_MOUNT/link $L/kept/file || true", "mkdir -p $BP_CACHE_MOUNT/sub", "echo theirs >> $BP_CACHE_MOUNT/sub/before")
	one := func(s source, a, of app.App) string {
		t.Helper()
		_, log, err := f.build(context.Background(), s, func(r *build.Request) { r.App, r.AppID, r.CacheOf = a.Name, a.ID, of })
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		return log
	}
	one(keep, hello, app.App{})
	preview := app.App{ID: 7, Name: "preview"}
	wantLines(t, one(look, preview, hello), "       saved\n       saved\n", "       layer content\n")
	wantLines(t, one(look, preview, hello), "       saved\n       theirs\n") // its own by now
	if log := one(look, hello, app.App{}); strings.Contains(log, "theirs") {
		t.Errorf("it sees what the other one has kept:\n%s", log)
	}
	if left, _ := filepath.Glob(filepath.Join(f.opts.Dir, "apps", "*", "lent")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCacheOverItsLimit: what was downloaded goes first, then the largest folders, and a cache of many files at the top is removed whole.
func TestCacheOverItsLimit(t *testing.T) {
	f := newFixture(t)
	tests := []struct{ fill, removed, left string }{
		{"mkdir -p downloads/npm built; head -c 3000000 /dev/zero > downloads/npm/a; head -c 500000 /dev/zero > built/b", "what was downloaded was removed", "built"},
		{"mkdir -p downloads large small; head -c 500000 /dev/zero > downloads/a; head -c 3000000 /dev/zero > large/b; echo x > small/c", "what was downloaded, large was removed", "built small"},
		{"head -c 3000000 /dev/zero > a; i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo > $i; done", "all of it was removed, the next build starts without", ""},
	}
	for _, tt := range tests {
		_, log, err := f.build(context.Background(), script("cd $BP_CACHE_MOUNT", tt.fill), func(r *build.Request) { r.Limits.Cache = 1 << 20 })
		if err != nil {
			t.Fatal(err)
		}
		wantLines(t, log, "over its limit of 1 MiB: "+tt.removed)
		found, err := readSome(filepath.Join(f.opts.Dir, "apps/hello/cache"), 100)
		slices.Sort(found)
		if got := strings.Join(found, " "); got != tt.left || err != nil && !os.IsNotExist(err) {
			t.Errorf("%s: left %q %v, want %q", tt.fill, got, err, tt.left)
		}
	}
}

// TestMissingBlob loses a layer of the image before: the next build makes it again.
func TestMissingBlob(t *testing.T) {
	f := newFixture(t)
	s := script("mkdir -p $L/bin", "echo one > $L/bin/file", `printf '[types]\nlaunch = true\n' > $L/bin.toml`)
	r, _ := f.mustBuild(s)
	img, err := f.registry.Image("hello", r.Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := img.Layers()
	d, _ := layers[1].Digest()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(f.opts.Dir), "registry/docker/registry/v2/blobs/sha256/*", d.Hex))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if err := os.RemoveAll(found[0]); err != nil {
		t.Fatal(err)
	}
	again, _ := f.mustBuild(s)
	if again.Digest != r.Digest || again.LayersReused != 0 {
		t.Errorf("%+v", again)
	}
	if _, err := f.registry.Image("hello", r.Digest); err != nil {
		t.Error(err)
	}
}

func TestLeftoversAreRemovedAtStart(t *testing.T) {
	f := newFixture(t)
	left := filepath.Join(f.opts.Dir, "apps/hello/"+buildPrefix+"hello-v1-0000/layers")
	for _, d := range []string{left, filepath.Join(f.opts.Dir, "apps/hello/cache"), filepath.Join(f.opts.Dir, "trash/x")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mountTmpfs(t, left)
	e, err := New(context.Background(), f.opts)
	if err != nil {
		t.Fatal(err)
	}
	e.trash.Wait()
	f.leftovers()
	if _, err := os.Stat(filepath.Join(f.opts.Dir, "apps/hello/cache")); err != nil {
		t.Errorf("the cache is gone: %v", err)
	}
}

// A power cut right after a build leaves caches with all names and empty files. After the start of the machine those that were not on the disk
// for certain are gone; a restart of gitd alone keeps them.
func TestAttack_CachesAfterPowerCut(t *testing.T) {
	f := newFixture(t)
	cache := filepath.Join(f.opts.Dir, "apps/hello/cache")
	again := func() bool {
		e, err := New(context.Background(), f.opts)
		if err != nil {
			t.Fatal(err)
		}
		e.trash.Wait()
		_, err = os.Stat(cache)
		return err == nil
	}
	rebooted := func() {
		if err := os.WriteFile(filepath.Join(f.opts.Dir, ".boot"), []byte("an earlier run"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.mustBuild(script("echo one"))
	apptest.Eventually(t, time.Minute, "the cache is settled", func() bool { return disk.Settled(cache) })
	if !again() {
		t.Error("a restart of gitd took the cache")
	}
	rebooted()
	if !again() {
		t.Error("a cache that was on the disk is gone")
	}
	f.settler.Unsettle(cache)
	rebooted()
	if again() {
		t.Error("a cache that was not on the disk is believed")
	}
}
