package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSettle(t *testing.T) {
	dir := memory(t)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	must(t, os.Mkdir(one, 0o755))
	must(t, os.Mkdir(two, 0o755))
	s := &Settler{Dir: dir}
	s.Settle(one)
	s.Settle(two)
	s.Unsettle(two)
	for deadline := time.Now().Add(time.Minute); !Settled(one); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no mark after a minute")
		}
	}
	if Settled(two) || Settled(filepath.Join(dir, "missing")) {
		t.Error("a folder is marked that is not to be")
	}
	s.Unsettle(one)
	if Settled(one) {
		t.Error("the mark stays")
	}
}

func TestAfterBoot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "boot")
	asked := 0
	for i, boot := range []string{"a\n", "a\n", "b\n", "b\n", "c\n"} {
		must(t, afterBoot(file, []byte(boot), func() error { asked++; return nil }))
		if want := []int{0, 0, 1, 1, 2}[i]; asked != want {
			t.Errorf("%d: asked %d times, want %d", i, asked, want)
		}
	}
}
