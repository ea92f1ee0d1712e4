package project

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

func TestFiles(t *testing.T) {
	source := []string{"main.go", "README.md", "src/a.go", "src/a_test.go", "src/testdata/big", "docs/index.md", "docs/keep/x.md", ".env", "web/.env"}
	for _, tt := range []struct{ name, text, want string }{
		{"Nothing", "", "main.go README.md src/a.go src/a_test.go src/testdata/big docs/index.md docs/keep/x.md .env web/.env"},
		{"Exclude", "[io.buildpacks]\nexclude = ['/README.md', 'docs/', '*_test.go', '.env']\n", "main.go src/a.go src/testdata/big"},
		{"ExcludeNegated", "[io.buildpacks]\nexclude = ['docs/*', '!docs/keep/']\n", "main.go README.md src/a.go src/a_test.go src/testdata/big docs/keep/x.md .env web/.env"},
		{"Include", "[io.buildpacks]\ninclude = ['*.go', '/docs', '# all of it']\n", "main.go src/a.go src/a_test.go docs/index.md docs/keep/x.md"},
		{"IncludeNegated", "[io.buildpacks]\ninclude = ['*.go', '!*_test.go']\n", "main.go src/a.go"},
		{"Schema01", "[build]\nexclude = ['*.md', 'testdata']\n", "main.go src/a.go src/a_test.go .env web/.env"},
		{"Empty", "[io.buildpacks]\ninclude = []\n", "main.go README.md src/a.go src/a_test.go src/testdata/big docs/index.md docs/keep/x.md .env web/.env"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			var kept []string
			all := d.Files.Select()
			for _, p := range source {
				keeps, err := all.Keeps(p)
				if alone, err := d.Files.Keeps(p); err != nil || alone != keeps {
					t.Errorf("%s: alone %t, %v", p, alone, err)
				}
				if err != nil {
					t.Fatal(err)
				}
				if keeps {
					kept = append(kept, p)
				}
			}
			if got := strings.Join(kept, " "); got != tt.want || d.Files.All() != (len(kept) == len(source)) {
				t.Errorf("%s", got)
			}
		})
	}
	for _, tt := range []struct{ name, text, want string }{
		{"Both", "[io.buildpacks]\ninclude = ['a']\nexclude = ['b']\n", "include or exclude, not both"},
		{"BothSchemas", "[build]\ninclude = ['a']\n[io.buildpacks]\nexclude = ['b']\n", "include or exclude, not both"},
		{"Type", "[io.buildpacks]\nexclude = 'a'\n", "exclude"},
		{"Bracket", "[io.buildpacks]\nexclude = ['[a']\n", `exclude: "[a" is not a pattern as in .gitignore: a [ has no ]`},
		{"Backslash", "[io.buildpacks]\ninclude = ['a\\']\n", "a backslash ends it"},
		{"Root", "[io.buildpacks]\ninclude = ['/']\n", "it names nothing"},
		{"Range", "[io.buildpacks]\ninclude = ['[z-a]']\n", "z-a is not a range"},
		{"Class", "[io.buildpacks]\ninclude = ['[[:all:]]']\n", "class that does not exist"},
		{"Long", fmt.Sprintf("[io.buildpacks]\ninclude = ['%s']\n", strings.Repeat("a", 2000)), "longer than 1024 bytes"},
		{"Many", fmt.Sprintf("[io.buildpacks]\ninclude = [%s]\n", strings.Repeat("'a',", 201)), "201 patterns, more than 200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.text); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "project.toml: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestParse_BuildEnvOfSchema01(t *testing.T) {
	d, err := Parse("[build]\nexclude = ['a']\n[[build.env]]\nname = 'A'\nvalue = 'b'\n")
	if err != nil || d.BuildEnv["A"] != "b" {
		t.Errorf("%v, %v", d.BuildEnv, err)
	}
}

// The attack: patterns that take long to find out that a name does not match, of asterisks or of what comes after one, and folders with long
// names. It took hours of the server's time, which nothing stopped.
func TestAttack_PatternWork(t *testing.T) {
	var list []string
	for i := range 5 {
		list = append(list, fmt.Sprintf("'%s%d'", strings.Repeat("*b", 500), i))
	}
	for i := range 70 {
		list = append(list, fmt.Sprintf("'*%sc%d'", strings.Repeat("b", 120), i))
	}
	d, err := Parse("[io.buildpacks]\nexclude = [" + strings.Join(list, ",") + "]\n")
	if err != nil {
		t.Fatal(err)
	}
	all := d.Files.Select()
	all.left = maxWork / 20 // for a quick test
	folder := strings.Repeat(strings.Repeat("b", 250)+"/", 14)
	began, slowest := time.Now(), time.Duration(0)
	for i := range 200_000 {
		last := time.Now()
		if _, err = all.Keeps(fmt.Sprintf("%s%s%d", folder, strings.Repeat("b", 240), i)); err != nil {
			break
		}
		slowest = max(slowest, time.Since(last))
	}
	if app.CodeOf(err) != app.CodeLimitExceeded || slowest > 2*time.Second {
		t.Errorf("%v after %v, one file in %v", err, time.Since(began), slowest)
	}
	t.Logf("%v, one file in %v", time.Since(began), slowest)
}

// What people write costs little, also with very many files.
func TestSelector_Ordinary(t *testing.T) {
	var list []string
	for i := range 200 {
		list = append(list, fmt.Sprintf("'%s%d%s'", []string{"", "*.", "/a/", "**/x/", "docs/*"}[i%5], i, []string{"", "/"}[i%2]))
	}
	d, err := Parse("[io.buildpacks]\nexclude = [" + strings.Join(list, ",") + "]\n")
	if err != nil {
		t.Fatal(err)
	}
	all := d.Files.Select()
	began := time.Now()
	for i := range 100_000 {
		if _, err := all.Keeps(fmt.Sprintf("node_modules/package%d/lib/internal/a-file-with-a-name-%d.js", i/50, i)); err != nil {
			t.Fatal(err)
		}
	}
	if work := maxWork - all.left; work > maxWork/5 {
		t.Errorf("%d steps of %d", work, int64(maxWork))
	}
	t.Logf("%v", time.Since(began))
}
