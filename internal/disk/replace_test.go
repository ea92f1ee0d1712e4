package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := ReplaceBytes(file, 0o640, []byte("one")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := Replace(file, 0o600, func(f *os.File) error { _, _ = f.WriteString("two"); return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	b, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	left, _ := os.ReadDir(dir)
	if err != nil || string(b) != "one" || info.Mode() != 0o640 || len(left) != 1 {
		t.Errorf("%q, %v, %v, %v", b, info.Mode(), left, err)
	}
	odd := filepath.Join(dir, "a[b]*")
	if err := errors.Join(os.Mkdir(odd, 0o700), os.WriteFile(filepath.Join(odd, ".new-1"), nil, 0o600), os.WriteFile(filepath.Join(odd, "new-1"), nil, 0o600), RemoveTemporary(odd)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(odd); err != nil || len(left) != 1 || left[0].Name() != "new-1" {
		t.Errorf("%v, %v", left, err)
	}
}
