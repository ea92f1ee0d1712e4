package receive

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// bareWith makes a bare repository with one empty blob, and returns what makes trees of lines as git mktree takes them.
func (fx *fixture) bareWith() (repository, blob string, tree func(lines string) string) {
	fx.t.Helper()
	repository = filepath.Join(fx.t.TempDir(), "x.git")
	fx.git("/", "init", "-q", "--bare", repository)
	feed := func(stdin string, args ...string) string {
		c := fx.cmd(repository, "git", args...)
		c.Stdin = strings.NewReader(stdin)
		out, err := c.Output()
		if err != nil {
			fx.t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	return repository, feed("", "hash-object", "-w", "--stdin"), func(lines string) string { return feed(lines, "mktree") }
}

func TestPathsTogether(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.bareWith()
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
	c := &catFile{ctx: ctx, objects: objects{repository: repository}, limits: fx.s.opts}
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
			_, _, err := c.walkTree(tt.tree, "", tt.known, fx.s.opts, nil)
			return err
		})
		if !tt.fails && err != nil || tt.fails && (app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "longer than 32 MB together")) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestAttributesOfManyFiles(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.bareWith()
	var lines strings.Builder
	var entries []entry
	for i := range 2*attributesAtOnce + 1 {
		fmt.Fprintf(&lines, "100644 blob %s\tf%d\n", blob, i)
		entries = append(entries, entry{path: fmt.Sprintf("f%d", i), mode: modeRegular, id: blob})
	}
	dir := t.TempDir()
	rules := fx.cmd(repository, "git", "hash-object", "-w", "--stdin")
	rules.Stdin = strings.NewReader(fmt.Sprintf("f0 filter=lfs\nf%d filter=lfs\nf%d filter=x\n", 2*attributesAtOnce, attributesAtOnce))
	id, err := rules.Output()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&lines, "100644 blob %s\t.gitattributes\n", strings.TrimSpace(string(id)))
	q := &quarantine{objects: objects{repository: repository, quarantine: dir}}
	found, err := q.filtered(context.Background(), tree(lines.String()), entries, fx.s.opts)
	if err != nil || fmt.Sprint(found) != fmt.Sprint([]int{0, 2 * attributesAtOnce}) {
		t.Errorf("%v %v", found, err)
	}
}
