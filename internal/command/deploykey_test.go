package command

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/store"
)

func TestDeployKeyRights(t *testing.T) {
	ctx := context.Background()
	st, err := store.Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.CreateApp(ctx, "site", "laptop"); err != nil {
		t.Fatal(err)
	}
	changed := 0
	s := &operation.Services{Store: st, Machine: &release.Machine{},
		DeployKey: func(_ string, renew bool) (string, error) {
			if renew {
				changed++
			}
			return "ssh-ed25519 AAAA", nil
		},
		ForgetHosts: func(string) error { changed++; return nil }}
	register := func(k app.Key) app.Key {
		k.Fingerprint = "SHA256:" + k.Name
		if err := st.AddKey(ctx, k); err != nil {
			t.Fatal(err)
		}
		k, err := st.KeyByName(ctx, k.Name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	owner, pusher := register(app.Key{Name: "laptop"}), register(app.Key{Name: "ci", Apps: []app.Scope{{Name: "site"}}})
	for _, tt := range []struct {
		key     app.Key
		args    string
		status  int
		changes int
	}{
		{pusher, "deploy-key site", 0, 0}, {pusher, "deploy-key site --new", app.ExitForbidden, 0}, {pusher, "deploy-key site --forget-hosts", app.ExitForbidden, 0},
		{owner, "deploy-key site --new", 0, 1}, {owner, "deploy-key site --forget-hosts", 0, 1}, {owner, "deploy-key nowhere --new", app.ExitNotFound, 0},
	} {
		changed = 0
		var out, errOut bytes.Buffer
		if status := Run(ctx, s, app.Caller{Key: tt.key}, strings.Fields(tt.args), strings.NewReader(""), &out, &errOut, nil); status != tt.status || changed != tt.changes {
			t.Errorf("%s: %s: status %d, %d changes: %s%s", tt.key.Name, tt.args, status, changed, &out, &errOut)
		}
	}
}
