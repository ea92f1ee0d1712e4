package repository

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// A commit's trees that the push before had need not be read, and the listing is the same.
func TestTreesOfThePushBefore(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.Bare()
	folder := tree(fmt.Sprintf("100644 blob %s\ta\n100755 blob %s\tb\n", blob, blob))
	same := tree(fmt.Sprintf("040000 tree %s\tone\n040000 tree %s\ttwo\n", folder, folder))
	before := tree(fmt.Sprintf("100644 blob %s\tfile\n040000 tree %s\tsame\n", blob, same))
	after := tree(fmt.Sprintf("100644 blob %s\tother\n040000 tree %s\tsame\n", blob, same))
	walk := func(root string, known map[plumbing.Hash][]entry) ([]entry, map[plumbing.Hash][]entry, error) {
		ctx := context.Background()
		c := &catFile{ctx: ctx, objects: objects{repository: repository}, limits: fx.f.opts.Limits}
		defer c.close()
		var entries []entry
		var trees map[plumbing.Hash][]entry
		err := c.use(ctx, func() (err error) {
			entries, trees, err = c.walkTree(plumbing.NewHash(root), "", tally{}, fx.f.opts.Limits, known)
			return err
		})
		return entries, trees, err
	}
	want, _, err := walk(after, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, known, err := walk(before, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(repository, "objects", folder[:2], folder[2:])); err != nil { // reading it fails
		t.Fatal(err)
	}
	if _, _, err := walk(after, nil); err == nil {
		t.Error("a tree that is gone was read")
	}
	got, trees, err := walk(after, known)
	if err != nil || !reflect.DeepEqual(got, want) || len(trees) != 3 {
		t.Errorf("%v, %v: %v; want %v", got, trees, err, want)
	}
}

func TestTreeCache(t *testing.T) {
	trees := func(id string, files int) map[plumbing.Hash][]entry {
		list := make([]entry, files)
		for i := range list {
			list[i] = entry{path: strings.Repeat("x", 40)}
		}
		return map[plumbing.Hash][]entry{plumbing.ComputeHash(plumbing.BlobObject, []byte(id)): list}
	}
	const third = maxTreeCache / 3 / (40 + entryBytes)
	c := newTreeCache()
	for _, name := range []string{"a", "b", "a"} {
		c.keep(name, trees(name, third-10))
	}
	c.of("b")
	c.keep("c", trees("c", third-10))
	if c.of("a") == nil || c.of("b") == nil || c.of("c") == nil {
		t.Error("three have room together")
	}
	c.of("a")
	c.keep("d", trees("d", third-10))
	if c.of("b") != nil || c.of("a") == nil || c.of("c") == nil || c.of("d") == nil {
		t.Error("the one that was used longest ago goes")
	}
	c.keep("a", trees("a2", 4*third))
	if c.of("a") != nil || c.of("c") == nil {
		t.Error("what has no room at all evicts no other app, and what it replaces goes")
	}
	c.drop("c")
	c.drop("nobody")
	c.drop("d")
	if c.bytes != 0 || c.order.Len() != 0 || len(c.apps) != 0 {
		t.Errorf("%d bytes and %d apps are left", c.bytes, c.order.Len())
	}
}
