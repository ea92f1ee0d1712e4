package repository

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenCleansUp(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("crash")
	fx.push(dir, "crash")
	bare := fx.bare("crash")
	leftovers := []string{filepath.Join(bare, "objects/tmp_objdir-incoming-x/pack/tmp_pack_1"), filepath.Join(bare, "objects/pack/tmp_idx_x"),
		filepath.Join(bare, "refs/heads/main.lock"), filepath.Join(bare, "shallow.lock"), filepath.Join(bare, "objects/pack/pack-12.pack"),
		filepath.Join(fx.f.dir, ".new-1/HEAD"), filepath.Join(fx.f.dir, ".deleted-1/r/HEAD")}
	for _, f := range leftovers {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(fx.f.opts); err != nil {
		t.Fatal(err)
	}
	for _, f := range leftovers {
		if _, err := os.Lstat(f); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", f)
		}
	}
	fx.live("crash", fx.Git(dir, "rev-parse", "HEAD"))
}
