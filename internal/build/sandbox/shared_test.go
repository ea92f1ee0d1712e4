package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/build"
)

// TestShared: what a build asked for is prepared where nothing of an app runs, and all builds can read it and not change it.
func TestShared(t *testing.T) {
	f := newFixture(t)
	ask := func(app, what string) {
		t.Helper()
		_, log, err := f.build(context.Background(), script("mkdir -p $BP_CACHE_MOUNT/debs", what), func(r *build.Request) { r.App = app })
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		f.shared.busy.Wait()
	}
	seen := func() string {
		b, err := os.ReadFile(filepath.Join(f.shared.all, "list"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ask("first", "echo php > $BP_CACHE_MOUNT/debs/requests")
	if got := seen(); got != "php\n" {
		t.Errorf("prepared %q", got)
	}
	if uid, err := os.ReadFile(filepath.Join(f.shared.all, "uid")); err != nil || strings.TrimSpace(string(uid)) != strconv.Itoa(f.shared.owner) {
		t.Errorf("it ran as %q, %v", uid, err)
	}

	// Another app's build reads it, and nothing more.
	_, log, err := f.build(context.Background(), script("echo it has: $(cat $BP_SHARED_MOUNT/list)", "echo mine > $BP_SHARED_MOUNT/list && exit 9",
		"touch $BP_SHARED_MOUNT/other && exit 9", "rm -f $BP_SHARED_MOUNT/list && exit 9", "true"), func(r *build.Request) { r.App = "second" })
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	wantLines(t, log, "it has: php")

	// A build that asks for nothing leaves nothing to prepare, nor does an old list, or what is no list.
	calls := func() int {
		b, _ := os.ReadFile(filepath.Join(f.shared.own, "calls")) // counted below
		return strings.Count(string(b), "x")
	}
	for _, what := range []string{"true", "ln -s /gitd-shared/list $BP_CACHE_MOUNT/debs/requests", "rm $BP_CACHE_MOUNT/debs/requests; mkfifo $BP_CACHE_MOUNT/debs/requests",
		"rm $BP_CACHE_MOUNT/debs/requests; head -c 20000 /dev/zero > $BP_CACHE_MOUNT/debs/requests"} {
		ask("first", what)
	}
	if calls() != 1 {
		t.Errorf("prepared %d times, want once", calls())
	}
	// What fails disturbs no other.
	ask("first", "echo failing > $BP_CACHE_MOUNT/debs/requests")
	ask("first", "echo ruby > $BP_CACHE_MOUNT/debs/requests")
	if got := seen(); got != "ruby\n" {
		t.Errorf("prepared %q", got)
	}
}
