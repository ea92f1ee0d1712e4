package repository

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitd-io/gitd/internal/app"
)

func TestPathsTogether(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.Bare()
	var lines strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&lines, "100644 blob %s\tf%d\n", blob, i)
	}
	flat := tree(lines.String())
	deep := flat
	for range 14 {
		deep = tree(fmt.Sprintf("040000 tree %s\t%s\n", deep, strings.Repeat("x", 250)))
	}
	ctx := context.Background()
	c := &catFile{ctx: ctx, objects: objects{repository: repository}, limits: fx.f.opts.Limits}
	defer c.close()
	for _, tt := range []struct {
		tree  string
		known tally
		fails bool
	}{
		{flat, tally{}, false}, {deep, tally{}, true},
		{flat, tally{paths: maxPaths - 10_000}, true}, // of the repository that it is a submodule of
	} {
		err := c.use(ctx, func() error {
			_, _, err := c.walkTree(plumbing.NewHash(tt.tree), "", tt.known, fx.f.opts.Limits, nil)
			return err
		})
		if !tt.fails && err != nil || tt.fails && (app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "longer than 32 MiB together")) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestAttributesOfManyFiles(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.Bare()
	var lines strings.Builder
	var entries []entry
	for i := range 2*attributesAtOnce + 1 {
		fmt.Fprintf(&lines, "100644 blob %s\tf%d\n", blob, i)
		entries = append(entries, entry{path: fmt.Sprintf("f%d", i), mode: filemode.Regular, id: plumbing.NewHash(blob)})
	}
	dir := t.TempDir()
	rules := fx.Cmd(repository, "git", "hash-object", "-w", "--stdin")
	rules.Stdin = strings.NewReader(fmt.Sprintf("f0 filter=lfs\nf%d filter=lfs\nf%d filter=x\n", 2*attributesAtOnce, attributesAtOnce))
	id, err := rules.Output()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&lines, "100644 blob %s\t.gitattributes\n", strings.TrimSpace(string(id)))
	q := &Quarantine{of: fx.f.Of("x"), objects: objects{repository: repository, quarantine: dir}}
	found, err := q.filtered(context.Background(), tree(lines.String()), entries, fx.f.opts.Limits)
	if err != nil || fmt.Sprint(found) != fmt.Sprint([]int{0, 2 * attributesAtOnce}) {
		t.Errorf("%v %v", found, err)
	}
}

func TestParentThatIsNoCommit(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.Bare()
	hash := fx.Cmd(repository, "git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
	hash.Stdin = strings.NewReader("tree " + tree("") + "\nparent " + blob + "\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n")
	id, err := hash.Output()
	if err != nil {
		t.Fatal(err)
	}
	q := &Quarantine{of: fx.f.Of("x"), objects: objects{repository: repository}, cut: []string{strings.TrimSpace(string(id))}}
	q.cat = &catFile{ctx: context.Background(), objects: q.objects, limits: fx.f.opts.Limits}
	defer q.cat.close()
	if err := q.Accept(); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "is a blob where a parent of commit") {
		t.Error(err)
	}
}
