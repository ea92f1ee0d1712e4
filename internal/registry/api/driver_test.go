package api

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// TestDirectory: what distribution relies on.
func TestDirectory(t *testing.T) {
	ctx, d := t.Context(), directory(t.TempDir())
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	content := func(p, want string) {
		t.Helper()
		if b, err := d.GetContent(ctx, p); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", p, b, err, want)
		}
	}
	check(d.PutContent(ctx, "/a/b/link", []byte("one, longer")))
	check(d.PutContent(ctx, "/a/b/link", []byte("two")))
	content("/a/b/link", "two")

	w, err := d.Writer(ctx, "/a/up/data", false)
	check(err)
	_, err = io.WriteString(w, "first ")
	check(err)
	check(w.Close())
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
	w, err = d.Writer(ctx, "/a/up/data", true)
	check(err)
	_, err = io.WriteString(w, "second")
	check(err)
	if w.Size() != 12 {
		t.Errorf("size %d", w.Size())
	}
	check(w.Commit(ctx))
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("written after the commit")
	}
	check(w.Close())
	content("/a/up/data", "first second")
	r, err := d.Reader(ctx, "/a/up/data", 6)
	check(err)
	if b, err := io.ReadAll(r); err != nil || string(b) != "second" {
		t.Errorf("%q, %v", b, err)
	}
	check(r.Close())

	check(d.Move(ctx, "/a/up/data", "/a/b/link"))
	content("/a/b/link", "first second")
	w, err = d.Writer(ctx, "/a/b/link", false)
	check(err)
	check(w.Close())
	content("/a/b/link", "")
	w, err = d.Writer(ctx, "/a/up/other", false)
	check(err)
	check(w.Cancel(ctx))

	names, err := d.List(ctx, "/a")
	slices.Sort(names)
	if err != nil || strings.Join(names, " ") != "/a/b /a/up" {
		t.Errorf("%q, %v", names, err)
	}
	if names, err = d.List(ctx, "/"); err != nil || strings.Join(names, " ") != "/a" {
		t.Errorf("%q, %v", names, err)
	}
	if i, err := d.Stat(ctx, "/a"); err != nil || !i.IsDir() || i.Size() != 0 {
		t.Errorf("%+v, %v", i, err)
	}
	check(d.Delete(ctx, "/a/b"))

	var missing driver.PathNotFoundError
	var invalid driver.InvalidPathError
	_, err = d.Stat(ctx, "/a/b")
	for _, err := range []error{err, d.Delete(ctx, "/a/up/other"), d.Move(ctx, "/none", "/a/x"), second(d.List(ctx, "/none")), second(d.GetContent(ctx, "/none")), second(d.Reader(ctx, "/none", 0))} {
		if !errors.As(err, &missing) {
			t.Errorf("got %v", err)
		}
	}
	for _, p := range []string{"", "/", "a", "/a/", "//a", "/a/../b", "/a/./b", "/ä", "/a b"} {
		if err := d.PutContent(ctx, p, nil); !errors.As(err, &invalid) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
