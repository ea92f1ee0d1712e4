package repository

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// Several writers at once write what git writes, keep the limit together, and end together.
func TestCheckoutByMany(t *testing.T) {
	const files = 2 * 3 * filesForWriter
	const size = 40
	limit := int64(files * size)
	fx := start(t, func(o *Options) { o.Limits.Writers = 3; o.Limits.Checkout = limit })
	dir := fx.Work("src")
	write := func(i int) {
		t.Helper()
		p := filepath.Join(dir, fmt.Sprintf("d%d/e%d/f%d", i%7, i%11, i))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if i%5 == 0 {
			mode = 0o755
		}
		if err := os.WriteFile(p, fmt.Appendf(nil, "%-*d", size, i), mode); err != nil {
			t.Fatal(err)
		}
	}
	for i := range files - 10 {
		write(i)
	}
	fx.Git(dir, "add", "-A")
	fx.Git(dir, "commit", "-qm", "many")
	q, _ := fx.begin(dir, "src")
	source, out := q.Source(), t.TempDir()
	if err := source.Checkout(t.Context(), out, os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	if diff, err := exec.Command("diff", "-r", "--exclude=.git", dir, out).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if listed := slices.Collect(source.Files()); slices.Contains(listed, "d1") || !slices.Contains(listed, "d1/e1/f1") {
		t.Errorf("%d files are listed: %q", len(listed), listed[:10])
	}
	for i := range files - 10 {
		info, err := os.Lstat(filepath.Join(out, fmt.Sprintf("d%d/e%d/f%d", i%7, i%11, i)))
		if err != nil || info.Mode().Perm()&0o111 != 0 != (i%5 == 0) {
			t.Fatalf("file %d: %v, %v", i, info, err)
		}
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(app.Errorf(app.CodeSuperseded, "", "a newer push"))
	if err := source.Checkout(ended, t.TempDir(), 0, 0); app.CodeOf(err) != app.CodeSuperseded {
		t.Errorf("cancelled: %v", err)
	}
	fx.end(q)
	for i := range 20 {
		write(files + i)
	}
	fx.Git(dir, "add", "-A")
	fx.Git(dir, "commit", "-qm", "too many")
	q, _ = fx.begin(dir, "src")
	defer q.Close()
	if err := q.Source().Checkout(t.Context(), t.TempDir(), 0, 0); err == nil || !strings.Contains(err.Error(), "are larger than "+app.Size(limit)) {
		t.Error(err)
	}
}
