package repository

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// What a push reads from is not removed by its own next fetch, however large it is.
func TestModuleInUseStays(t *testing.T) {
	root := t.TempDir()
	url := gittest.ServeHTTPS(t, "127.0.0.1:0", root, nil)
	fx := start(t, func(o *Options) { // more than a pack here, less than its folder
		o.ModulesFrom, o.Limits.Pack = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 1500
	})
	one := fx.Library(root, "one")
	fx.Commit(one, "x", "x")
	r := fx.f.Of("fails")
	if err := r.Ensure(); err != nil {
		t.Fatal(err)
	}
	fx.Commit(one, "y", "y")
	m := &modules{repository: r, limits: r.limits(), log: app.NewLog(io.Discard), used: map[string]bool{}}
	from, err := parseRemote(url + "/one")
	if err != nil {
		t.Fatal(err)
	}
	o, err := m.fetch(context.Background(), from, fx.Git(one, "rev-parse", "HEAD~1"))
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(o.repository, "mark")
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _ = m.fetch(context.Background(), from, fx.Git(one, "rev-parse", "HEAD"))
	if _, err := os.Stat(mark); err != nil {
		t.Error("what the push reads from was removed")
	}
	m.done(false)
}
