package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBatch(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(at("there"), []byte("old"), 0o600))
	var b Batch
	must(t, b.Add(at("there"), 0o644, []byte("new")))
	must(t, b.Add(at("a/b/c"), 0o640, []byte("deep")))
	b.Sync(at("there"))
	b.Sync(at("missing")) // what is not there needs none
	if text, err := os.ReadFile(at("there")); err != nil || string(text) != "old" {
		t.Errorf("before Place: %q, %v", text, err)
	}
	must(t, b.Place())
	for name, want := range map[string]string{"there": "new", "a/b/c": "deep"} {
		if text, err := os.ReadFile(at(name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if info, err := os.Stat(at("a/b/c")); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	must(t, b.Add(at("a/dropped"), 0o644, nil))
	b.Drop()
	must(t, b.Place())
	for _, d := range []string{dir, at("a"), at("a/b")} {
		if left, err := filepath.Glob(filepath.Join(d, temporary+"*")); err != nil || len(left) > 0 {
			t.Errorf("left %q, %v", left, err)
		}
	}
	if _, err := os.Lstat(at("a/dropped")); !os.IsNotExist(err) {
		t.Error(err)
	}
	must(t, os.WriteFile(at("file"), nil, 0o600))
	if err := b.Add(at("file/x"), 0o644, nil); err == nil {
		t.Error("a file has a file in it")
	}
}
