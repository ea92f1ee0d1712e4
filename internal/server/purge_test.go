package server

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store"
)

// Purge removes data directories, also those of a start that failed early, and no other folder.
func TestPurge(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		err   string // "": it goes
	}{
		{"Empty", nil, ""},
		{"FailedEarly", []string{lockFile, platformFile, "repositories/x", ".write-test-1"}, ""},
		{"WithADatabase", []string{databaseFile, "secret"}, ""},
		{"NotOurs", []string{"lock", "thesis.tex"}, "it has no gitd.db, and thesis.tex in it is not gitd's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			for _, f := range append(tt.files, ".") {
				f = filepath.Join(dir, f)
				if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
					t.Fatal(err)
				}
				content := ""
				if strings.HasSuffix(f, platformFile) {
					content = `{"cluster": {}}`
				}
				if f != dir {
					if err := os.WriteFile(f, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			err := Purge(t.Context(), dir, app.NewLog(io.Discard))
			_, there := os.Stat(dir)
			if tt.err == "" && (err != nil || !os.IsNotExist(there)) || tt.err != "" && (app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), tt.err) || there != nil) {
				t.Errorf("%v; %v", err, there)
			}
			if err := Purge(t.Context(), filepath.Join(dir, "missing"), app.NewLog(io.Discard)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Apps on a cluster go first: where it cannot be reached, nothing is removed.
func TestPurge_ClusterAway(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateApp(t.Context(), "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, platformFile), []byte(`{"cluster": {"kubeconfig": "/missing"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	err = Purge(t.Context(), dir, app.NewLog(io.Discard))
	message, next := app.Explain(err)
	if app.CodeOf(err) != app.CodeUnavailable || !strings.HasPrefix(message, "the apps are still on the cluster: ") || !strings.Contains(next, platformFile) {
		t.Errorf("%s / %s", message, next)
	}
	t.Log(message, "/", next)
	if hasApps, err := hasCluster(t.Context(), dir); err != nil || !hasApps {
		t.Errorf("%v, %v", hasApps, err)
	}
}

// What tells a data directory's objects from another's stays the same, and is never replaced by a new one where it is damaged.
func TestInstance(t *testing.T) {
	of := func(dir string) (string, error) { return (&Server{o: offlineOptions(dir, nil, nil)}).instance() }
	dir := t.TempDir()
	one, err := of(dir)
	if err != nil || len(one) != 10 {
		t.Fatalf("%q, %v", one, err)
	}
	if again, err := of(dir); again != one || err != nil {
		t.Errorf("%q became %q, %v", one, again, err)
	}
	if other, err := of(t.TempDir()); other == one || err != nil {
		t.Errorf("two are %q, %v", other, err)
	}
	for _, damaged := range []string{"", "a b", "ünique", strings.Repeat("x", 30)} {
		if err := os.WriteFile(filepath.Join(dir, instanceFile), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := of(dir); app.CodeOf(err) != app.CodeUnavailable {
			t.Errorf("%q is taken for %q, %v", damaged, id, err)
		}
	}
}
