package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// claimed is claimed.toml.
type claimed struct {
	Language []struct {
		Name, Title          string
		Managers, Frameworks []string
	}
	Script []struct{ Name, Language, Manager, Framework string }
}

// kind is a cell of a table.
type kind struct{ language, manager, framework string }

// TestKindsPage: docs/kinds.md says what is pushed in tests. GITD_TEST_UPDATE=1 writes it.
func TestKindsPage(t *testing.T) {
	var c claimed
	if meta, err := toml.DecodeFile("claimed.toml", &c); err != nil || len(meta.Undecoded()) > 0 {
		t.Fatal(err, meta.Undecoded())
	}
	cells := map[kind][]string{}
	for _, s := range c.Script {
		if _, err := os.Stat("../e2e/testdata/" + s.Name + ".txtar"); err != nil {
			t.Error(err)
		}
		cells[kind{s.Language, s.Manager, s.Framework}] = []string{"**CI**"}
	}
	ours, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range ours {
		k := kind{s.Language, s.Manager, s.Framework}
		cells[k] = append(cells[k], "kinds")
	}
	public, err := samples("")
	if err != nil {
		t.Fatal(err)
	}
	samples := map[kind]int{}
	for _, s := range public {
		if s.Needs != "" || s.Refused != "" {
			continue
		}
		if s.Manager == "" || s.Framework == "" {
			t.Errorf("apps.toml: %s says no manager or framework", s.name())
		}
		samples[kind{s.Language, s.Manager, s.Framework}]++
	}
	for k, n := range samples {
		cells[k] = append(cells[k], fmt.Sprintf("apps %d", n))
	}
	page := tables(&c, cells)
	for _, k := range slices.SortedFunc(maps.Keys(cells), func(a, b kind) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		t.Errorf("%v is not in claimed.toml", k)
	}
	const file, from = "../../docs/kinds.md", "\n## "
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	intro, _, _ := strings.Cut(string(old), from)
	if want := intro + page; string(old) != want {
		if os.Getenv("GITD_TEST_UPDATE") == "" {
			t.Fatalf("%s is not as the tests are: GITD_TEST_UPDATE=1 go test ./test/apps", file)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tables are one for each language: a row for each framework, a column for each package manager. What it has a place for goes from cells.
func tables(c *claimed, cells map[kind][]string) string {
	var b strings.Builder
	for _, l := range c.Language {
		fmt.Fprintf(&b, "\n## %s\n\n| | %s |\n|---|%s\n", l.Title, strings.Join(l.Managers, " | "), strings.Repeat("---|", len(l.Managers)))
		for _, f := range l.Frameworks {
			row := []string{f}
			for _, m := range l.Managers {
				k := kind{l.Name, m, f}
				row = append(row, strings.Join(cells[k], ", "))
				delete(cells, k)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	return b.String()
}
