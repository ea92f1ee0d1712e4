package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// openAt returns the file of a database whose schema is as it was after n migrations, with statements run on it.
func openAt(t *testing.T, n int, statements ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "old.db")
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := append(append([]string{}, migrations[:n]...), statements...)
	for _, s := range append(all, "PRAGMA user_version = "+string(rune('0'+n))) {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func deleteApp(t *testing.T, s *Store, name string) {
	t.Helper()
	a, err := s.App(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteApp(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
}

func TestStore_AppIDs(t *testing.T) {
	ctx := context.Background()
	s, file := mustOpen(t)
	ids := map[int64]string{}
	newApp := func(s *Store, name string) {
		t.Helper()
		a, err := s.EnsureApp(ctx, name, "laptop")
		if err != nil {
			t.Fatal(err)
		}
		if other, used := ids[a.ID]; used || a.ID < 1 {
			t.Fatalf("%s got the ID %d, which was %q's", name, a.ID, other)
		}
		ids[a.ID] = name
		if again, err := s.App(ctx, name); err != nil || again != a {
			t.Fatalf("App = %+v, %v; want %+v", again, err, a)
		}
	}
	newApp(s, "hello")
	newApp(s, "shop")
	if _, err := s.CreateApp(ctx, "shop", "other"); app.CodeOf(err) != app.CodeExists {
		t.Fatal(err)
	}
	if a, err := s.EnsureApp(ctx, "shop", "other"); err != nil || a.Owner != "laptop" || ids[a.ID] != "shop" {
		t.Fatalf("EnsureApp = %+v, %v", a, err)
	}
	for range 3 { // the newest, so that a mere max + 1 would give its ID again
		deleteApp(t, s, "shop")
		newApp(s, "shop")
	}
	deleteApp(t, s, "shop")
	deleteApp(t, s, "hello")
	again, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	newApp(again, "blog")
}

func TestMigration_AppIDs(t *testing.T) {
	ctx := context.Background()
	s, err := Open(openAt(t, 1, `INSERT INTO apps (name, owner, created) VALUES ('b', 'x', 5), ('a', 'x', 7), ('c', 'x', 5)`,
		`INSERT INTO releases VALUES ('a', 1, 'c', 'refs/heads/main', 'x', 0)`))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, want := range map[string]int64{"b": 1, "c": 2, "a": 3} { // by age
		if a, err := s.App(ctx, name); err != nil || a.ID != want {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if a, err := s.CreateApp(ctx, "d", "x"); err != nil || a.ID != 4 {
		t.Errorf("%+v, %v", a, err)
	}
}
