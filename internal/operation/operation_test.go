package operation

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/store"
)

// everything are all operations: each is asked about the app shop, or about the server.
func everything(ctx context.Context, s *Services, by app.Caller) map[string]error {
	shop := OfApp{App: "shop"}
	asked := map[string]error{}
	note := func(name string, err error) { asked[name] = err }
	_, err := ShowApp.Do(ctx, s, by, shop)
	note("apps APP", err)
	_, err = CreateApp.Do(ctx, s, by, shop)
	note("apps create", err)
	_, err = DestroyApp.Do(ctx, s, by, shop)
	note("apps destroy", err)
	_, err = Releases.Do(ctx, s, by, ReleasesOf{OfApp: shop, Lines: 1})
	note("releases", err)
	_, err = Rollback.Do(ctx, s, by, Take{OfApp: shop})
	note("rollback", err)
	_, err = Promote.Do(ctx, s, by, Take{OfApp: shop, Version: 1})
	note("promote", err)
	_, err = Logs.Do(ctx, s, by, LogsOf{OfApp: shop})
	note("logs", err)
	_, err = BuildLog.Do(ctx, s, by, BuildLogOf{OfApp: shop})
	note("logs --build", err)
	_, err = ShowDeployKey.Do(ctx, s, by, shop)
	note("deploy-key", err)
	_, err = RenewDeployKey.Do(ctx, s, by, RenewKey{OfApp: shop, Renew: true})
	note("deploy-key --new", err)
	_, err = Keys.Do(ctx, s, by, OfServer{})
	note("keys list", err)
	_, err = AddKey.Do(ctx, s, by, NewKey{Name: "me", Public: strings.NewReader("ssh-ed25519 AAAA"), Admin: true})
	note("keys add", err)
	_, err = RemoveKey.Do(ctx, s, by, NamedKey{Name: "owner"})
	note("keys remove", err)
	return asked
}

// The attack: a registered key asks for each operation on an app that another key owns, and on the server. So does a key that was removed, or lost its rights, on a
// connection that stayed open. Each is refused before anything is done: the services that would do it are not there.
func TestAttack_OperationsOnWhatIsNotYours(t *testing.T) {
	ctx := t.Context()
	st, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	identify := func(k app.Key) app.Caller {
		k.Fingerprint, k.Public = "SHA256:"+k.Name, "ssh-ed25519 "+k.Name
		if err := st.AddKey(ctx, k); err != nil {
			t.Fatal(err)
		}
		if k, err = st.KeyByName(ctx, k.Name); err != nil {
			t.Fatal(err)
		}
		return app.Caller{Key: k}
	}
	owner, stranger, other, gone := identify(app.Key{Name: "owner"}), identify(app.Key{Name: "stranger"}),
		identify(app.Key{Name: "ci", Apps: []app.Scope{{Name: "blog"}}}), identify(app.Key{Name: "was-admin", Admin: true})
	if _, err := st.CreateAppAs(ctx, owner, "shop"); err != nil {
		t.Fatal(err)
	}
	if err := st.RemoveKey(ctx, "was-admin"); err != nil {
		t.Fatal(err)
	}
	s := &Services{Store: st, Machine: &release.Machine{}, URL: func(string) string { return "" }}
	for _, by := range []app.Caller{stranger, other, gone} {
		for name, err := range everything(ctx, s, by) {
			if app.CodeOf(err) != app.CodeForbidden {
				t.Errorf("%s by %s: %v (%s)", name, by.Name(), err, app.CodeOf(err))
			}
		}
		list, err := Apps.Do(ctx, s, by, AllApps{})
		if len(list) > 0 || (by.Name() == "was-admin") != (app.CodeOf(err) == app.CodeForbidden) {
			t.Errorf("apps by %s: %v, %v", by.Name(), list, err)
		}
	}
	if keys, err := Keys.Do(ctx, s, app.Root, OfServer{}); err != nil || len(keys) != 3 {
		t.Errorf("%+v, %v", keys, err)
	}
	if list, err := Apps.Do(ctx, s, owner, AllApps{}); err != nil || len(list) != 1 || list[0].Name != "shop" {
		t.Errorf("%+v, %v", list, err)
	}
}

// Without a server each operation says that it needs it, or does with the ledger; the right comes first.
func TestDo_WithoutServer(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if _, err := st.CreateApp(t.Context(), "shop", "owner"); err != nil {
		t.Fatal(err)
	}
	s := &Services{Store: st, URL: func(string) string { return "" }}
	needy := map[string]bool{"apps APP": true, "apps destroy": true, "rollback": true, "promote": true, "logs": true, "deploy-key": true, "deploy-key --new": true}
	for name, err := range everything(t.Context(), s, app.Root) {
		if got := app.CodeOf(err) == app.CodeUnavailable; got != needy[name] {
			t.Errorf("%s: %v", name, err)
		}
	}
}
