package receive

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// Several writers at once write what git writes, keep the limit together, and end together.
func TestCheckoutByMany(t *testing.T) {
	const files = 2 * 3 * filesForWriter
	const size = 40
	limit := int64(files * size)
	fx := start(t, func(o *Options) { o.writers = 3; o.MaxCheckout = limit })
	dir := fx.work("src")
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
	fx.git(dir, "add", "-A")
	fx.git(dir, "commit", "-qm", "many")
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		out := t.TempDir()
		if err := p.Source.Checkout(ctx, out, os.Getuid(), os.Getgid()); err != nil {
			return err
		}
		if diff, err := exec.Command("diff", "-r", "--exclude=.git", dir, out).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		for i := range files - 10 {
			info, err := os.Lstat(filepath.Join(out, fmt.Sprintf("d%d/e%d/f%d", i%7, i%11, i)))
			if err != nil || info.Mode().Perm()&0o111 != 0 != (i%5 == 0) {
				t.Fatalf("file %d: %v, %v", i, info, err)
			}
		}
		ended, cancel := context.WithCancelCause(ctx)
		cancel(app.Errorf(app.CodeSuperseded, "", "a newer push"))
		if err := p.Source.Checkout(ended, t.TempDir(), 0, 0); app.CodeOf(err) != app.CodeSuperseded {
			t.Errorf("cancelled: %v", err)
		}
		return p.Accept()
	})
	fx.git(dir, "push", "platform", "main")
	for i := range 20 {
		write(files + i)
	}
	fx.git(dir, "add", "-A")
	fx.git(dir, "commit", "-qm", "too many")
	fx.rejected(dir, []string{"are larger than " + app.Size(limit)}, "push", "platform", "main")
}
