package project

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ignored asks git which of the paths a .gitignore with one line leaves out, for each of the lines: each has a folder of its own.
func ignored(t *testing.T, lines, paths []string) []map[string]bool {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v %s", err, out)
	}
	var all strings.Builder
	found := make([]map[string]bool, len(lines))
	for i, line := range lines {
		found[i] = map[string]bool{}
		folder := strconv.Itoa(i)
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, folder, ".gitignore"), []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			all.WriteString(folder + "/" + p + "\x00")
		}
	}
	c := exec.Command("git", "check-ignore", "--no-index", "--stdin", "-z")
	c.Dir = dir
	c.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "GIT_CONFIG_NOSYSTEM=1")
	c.Stdin = strings.NewReader(all.String())
	out, err := c.Output()
	if err != nil {
		t.Fatalf("git check-ignore: %v", err)
	}
	for p := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		folder, path, _ := strings.Cut(p, "/")
		i, err := strconv.Atoi(folder)
		if err != nil {
			t.Fatalf("git check-ignore: %q", p)
		}
		found[i][path] = true
	}
	return found
}

// uneven finds two asterisks that are not all of a part. gitignore(5) says that they are as one; what git does depends on where they are.
var uneven = regexp.MustCompile(`[^/]\*\*|\*\*[^/]`)

// corpus returns patterns and paths: some by hand, others by chance.
func corpus() (lines, paths []string) {
	lines = []string{
		"a", "/a", "a/", "/a/", "a/b", "/a/b", "a/b/", "*", "**", "/**", "**/", "*/", "/*", "a/*", "*/b", "a/**", "**/b", "a/**/b", "**/a/b", "a/**/b/", "**/**", "a/**/**/b",
		"*.c", "a*", "*b*", "a?", "?", "??", "[ab]", "[a-c]", "[!a]", "[^a]", "a[]b]", "[]a]", "[!]a]", "[a-]", "[-a]", `[\]]`, `[\a]`, "[[:alpha:]]", "[![:digit:]a]", "[[:upper:]1]", "a[./]b", "[--0]",
		`\a`, `\*`, `a\?`, `\#a`, "#a", `\!a`, "a ", `a\ `, "a  ", " a", "a**b", "**a", "b**", "a/b**", "a**/b", "äö", "ä*", "a.b", "a+b", "(a)", "$", "a|b", "{a,b}", "", " ", "x/../a", "./a", "a//b",
	}
	letters := []rune("aab/**?.[]!-c\\1 ")
	random := rand.New(rand.NewPCG(1, 2))
	word := func(alphabet []rune, most int) string {
		var b strings.Builder
		for range 1 + random.IntN(most) {
			b.WriteRune(alphabet[random.IntN(len(alphabet))])
		}
		return b.String()
	}
	for range 1000 {
		lines = append(lines, word(letters, 9))
	}
	for _, p := range strings.Fields(`a b c aa ab abc a.c a.b a/a a/b a/b/c a/x/b a/x/a/b b/a b/a/b x/a x/a/b x/y/a/b x/y/z a/a/a/b aXb a-b a]b ] * ? a? #a !a äöüäöü . a+b (a) $ a|b {a,b} 1 A - \ a\b x/..a/b a/c/d/b/e ab/c b/ab/c`) {
		if p != "." {
			paths = append(paths, p)
		}
	}
	paths = append(paths, "a ", " a", "a b", "a\nb")
	for range 40 {
		p := strings.Trim(strings.ReplaceAll(word([]rune("aabbc/.1-"), 8), "//", "/"), "/.")
		if p == "" || strings.Contains("/"+p+"/", "/./") || strings.Contains("/"+p+"/", "/../") || strings.Contains(p, "//") {
			continue
		}
		paths = append(paths, p)
	}
	return lines, paths
}

// Every pattern means what git takes it for.
func TestPattern_AsGit(t *testing.T) {
	lines, paths := corpus()
	var patterns []*Selector
	lines = slices.DeleteFunc(lines, func(line string) bool {
		if strings.HasPrefix(line, "!") || uneven.MatchString(line) { // negated, alone it says nothing to git
			return true
		}
		p, ok, err := parsePattern(line)
		f := Files{}
		if ok {
			f.patterns = []pattern{p}
		}
		if err == nil {
			patterns = append(patterns, f.Select())
		}
		return err != nil // told to the person; to git it means nothing
	})
	want := ignored(t, lines, paths)
	for i, line := range lines {
		for _, path := range paths {
			kept, err := patterns[i].Keeps(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := !kept; got != want[i][path] {
				t.Errorf("%q on %q: %t, git says %t (%v)", line, path, got, want[i][path], patterns[i].files)
			}
		}
	}
	if len(lines) < 400 {
		t.Errorf("only %d patterns were compared", len(lines))
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a/**/b", "[!a-c]x", `\`, "[[:alpha:]]", "!**/", "[]", "[/]", "[\xff-\xfe]"} {
		f.Add(s, "a/b")
	}
	f.Fuzz(func(t *testing.T, line, path string) {
		p, ok, err := parsePattern(line)
		if err != nil || !ok {
			return
		}
		files := Files{patterns: []pattern{p}}
		s := files.Select()
		first, err := s.Keeps(path)
		_, other := s.Keeps("a/" + path)
		again, err2 := s.Keeps(path)
		if err != nil || other != nil || err2 != nil || first != again {
			t.Fatalf("%t, then %t; %v, %v, %v", first, again, err, other, err2)
		}
		// The work is the length of the pattern by that of the path, and no more.
		if work := maxWork - s.left; work > int64(3*(len(line)+3)*(2*len(path)+10)*4) {
			t.Fatalf("%d steps", work)
		}
	})
}
