package receive

import (
	"maps"
	"slices"
	"testing"

	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/repository"
)

// Another branch is deployed as one beside main: its ref names what is live of it, and main stays what it is.
func TestPreviewBranches(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("hello")
	fx.Git(dir, "push", "platform", "main")
	main := fx.Git(dir, "rev-parse", "HEAD")
	fx.Git(dir, "checkout", "-q", "-b", "feature/x")
	next := fx.Commit(dir, "f", "f")
	fx.Git(dir, "push", "platform", "feature/x")
	if p := fx.h.last(); p.Branch != "feature/x" || p.Ref != "refs/heads/feature/x" || p.Commit != next || p.App != "hello" {
		t.Errorf("%+v", p)
	}
	fx.live("hello", main)
	gittest.MustHold(t, fx.Git(dir, "ls-remote", "platform"), main+"\tHEAD", main+"\trefs/heads/main", next+"\trefs/heads/feature/x")
	fx.Git(dir, "fetch", "--prune", "platform")
	fx.Git(dir, "rev-parse", "platform/feature/x")

	fx.Rejected(dir, []string{"git has no branch feature beside feature/x"}, "push", "platform", "feature/x:feature")
	fx.Rejected(dir, []string{"git has no branch feature/x/y beside feature/x"}, "push", "platform", "feature/x:refs/heads/feature/x/y")
	fx.Rejected(dir, []string{"(atomic push: another ref was refused)"}, "push", "--atomic", "platform", ":feature/x", "feature/x:refs/tags/v1")

	// Of two pushes of a branch the newest wins; a push of main in between does not matter.
	fx.Git(dir, "push", "platform", "feature/x:main")
	fx.live("hello", next)
	last := fx.Commit(dir, "f", "ff")
	fx.Git(dir, "push", "platform", "feature/x")
	branches, err := fx.repos.Of("hello").Branches()
	if want := map[string]string{"feature/x": last}; err != nil || !maps.Equal(branches, want) {
		t.Errorf("%v, %v", branches, err)
	}
	gittest.MustHold(t, fx.Git(dir, "push", "platform", "--delete", "feature/x"), "Removed the preview of feature/x")
	fx.Git(dir, "push", "platform", "feature/x:feature")
	fx.Rejected(dir, []string{"unable to delete 'feature/x'"}, "push", "platform", "--delete", "feature/x")
}

func TestChoose(t *testing.T) {
	const id = "1234567890123456789012345678901234567890"
	at := here{live: repository.RefMain, branches: map[string]string{"x": id, "a/b": id}}
	for _, c := range []struct {
		name    string
		refs    []string // those with a dash are deleted
		atomic  bool
		deploys string
		removes []string
	}{
		{"main", []string{"refs/heads/main"}, false, "refs/heads/main", nil},
		{"a branch", []string{"refs/heads/y"}, false, "refs/heads/y", nil},
		{"main and a branch", []string{"refs/heads/y", "refs/heads/main"}, false, "refs/heads/main", nil},
		{"two branches", []string{"refs/heads/y", "refs/heads/z"}, false, "", nil},
		{"a branch, and one that goes", []string{"refs/heads/y", "-refs/heads/x"}, false, "refs/heads/y", []string{"refs/heads/x"}},
		{"the same, atomic", []string{"refs/heads/y", "-refs/heads/x"}, true, "", nil},
		{"two that go, atomic", []string{"-refs/heads/a/b", "-refs/heads/x"}, true, "", []string{"refs/heads/a/b", "refs/heads/x"}},
		{"one that is not there, atomic", []string{"-refs/heads/a", "-refs/heads/x"}, true, "", nil},
		{"no branch", []string{"-x"}, false, "", nil},
		{"main goes", []string{"-refs/heads/main"}, false, "", nil},
		{"a folder of another", []string{"refs/heads/a"}, false, "", nil},
		{"a bad name", []string{"refs/heads/../../x"}, false, "", nil},
	} {
		var commands []*refCommand
		for _, ref := range c.refs {
			if ref[0] == '-' {
				commands = append(commands, &refCommand{old: id, new: repository.ZeroID, name: ref[1:]})
			} else {
				commands = append(commands, &refCommand{old: repository.ZeroID, new: id, name: ref})
			}
		}
		deploys, removes := "", []string(nil)
		if d := choose(commands, at, c.atomic); d != nil {
			deploys = d.name
		}
		for _, command := range commands {
			if command.removes {
				removes = append(removes, command.name)
			}
			if done := command.removes || command.name == deploys; done != (command.reason == "") {
				t.Errorf("%s: %s: %q", c.name, command.name, command.reason)
			}
		}
		if deploys != c.deploys || !slices.Equal(removes, c.removes) {
			t.Errorf("%s: %q, %q", c.name, deploys, removes)
		}
	}
}
