package repository

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// fixture is a folder of repositories, and a user who has git.
type fixture struct {
	*gittest.User
	*gittest.Log
	f *Folder
}

func start(t testing.TB, change func(*Options)) *fixture {
	t.Helper()
	fx := &fixture{User: gittest.NewUser(t), Log: gittest.NewLog(t)}
	o := Options{Dir: filepath.Join(fx.Home, "repos"), Limits: Limits{MinFree: 1}, Log: fx.Printf}
	if change != nil {
		change(&o)
	}
	var err error
	if fx.f, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fx.f.StopMaintenance)
	return fx
}

// begin takes the commit that a working copy is at into a quarantine, as a push does.
func (fx *fixture) begin(dir, name string) (q *Quarantine, commit string) {
	fx.T.Helper()
	r, ctx := fx.f.Of(name), context.Background()
	commit = fx.Git(dir, "rev-parse", "HEAD")
	wanted := commit + "\n"
	if err := r.Ensure(); err != nil {
		fx.T.Fatal(err)
	}
	_, live, err := r.Live()
	if err != nil {
		fx.T.Fatal(err)
	}
	if _, err := fx.Try(dir, "cat-file", "-e", live); live != "" && err == nil {
		wanted += "^" + live + "\n"
	}
	c := fx.Cmd(dir, "git", "pack-objects", "--revs", "--stdout", "-q", "--thin")
	c.Stdin = bytes.NewReader([]byte(wanted))
	pack, err := c.Output()
	if err != nil {
		fx.T.Fatal(err)
	}
	if q, err = r.NewQuarantine(ctx, nil); err != nil {
		fx.T.Fatal(err)
	}
	if _, err := q.Index(ctx, bytes.NewReader(pack), nil); err != nil && !errors.Is(err, io.EOF) {
		fx.T.Fatal(err)
	}
	if err := q.Inspect(ctx, commit); err != nil {
		fx.T.Fatal(err)
	}
	return q, commit
}

// end takes it live.
func (fx *fixture) end(q *Quarantine) {
	fx.T.Helper()
	defer q.Close()
	if err := q.Accept(); err != nil {
		fx.T.Fatal(err)
	}
	if err := q.of.SetLive(RefMain, q.commit.String(), q.of.Turn()); err != nil {
		fx.T.Fatal(err)
	}
	q.KeepLive()
	q.of.Maintain()
}

// push takes the commit that a working copy is at live.
func (fx *fixture) push(dir, name string) (commit string) {
	fx.T.Helper()
	q, commit := fx.begin(dir, name)
	fx.end(q)
	return commit
}

func (fx *fixture) bare(name string) string { return fx.f.Of(name).path }

// live checks what the ref says, and that the repository is sound.
func (fx *fixture) live(name, commit string) {
	fx.T.Helper()
	got, err := fx.f.Live(app.App{Name: name})
	if err != nil || got != commit {
		fx.T.Errorf("live is %q (%v); it must be %q", got, err, commit)
	}
	if out, err := fx.Try("/", "--git-dir="+fx.bare(name), "fsck", "--strict", "--connectivity-only"); err != nil {
		fx.T.Errorf("fsck of %s: %v\n%s", name, err, out)
	}
}

// everything lists all objects of the app's repository.
func (fx *fixture) everything(name string) string {
	fx.T.Helper()
	return fx.Git("/", "--git-dir="+fx.bare(name), "cat-file", "--batch-check", "--batch-all-objects")
}
