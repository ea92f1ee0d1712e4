package fsck

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// visits notes what a visitor is told.
type visits struct {
	links   int
	special []SpecialFile
	ids     []string
}

func (v *visits) Link(Kind, []byte) { v.links++ }

func (v *visits) Special(f SpecialFile, id []byte) {
	v.special = append(v.special, f)
	v.ids = append(v.ids, fmt.Sprintf("%x", id))
}

// object is an object and what kind it is.
type object struct{ kind, data string }

func (o object) id() string {
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "%s %d\x00%s", o.kind, len(o.data), o.data)))
}

func (o object) check(c *Checker, v Visitor) error {
	switch o.kind {
	case "tree":
		return c.Tree([]byte(o.data), v)
	case "commit":
		return c.Commit([]byte(o.data), v)
	case "tag":
		return c.Tag([]byte(o.data), v)
	}
	return nil
}

// repository writes objects loosely, as they are.
func repository(t *testing.T, objects []object) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", "--bare", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, o := range objects {
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		fmt.Fprintf(z, "%s %d\x00%s", o.kind, len(o.data), o.data)
		_ = z.Close()
		path := filepath.Join(dir, "objects", o.id()[:2], o.id()[2:])
		_ = os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var complaint = regexp.MustCompile(`(?m)^error in (?:tree|commit|tag|blob) ([0-9a-f]{40}): (\w+): `)

// byGit returns the problems that git fsck --strict has with each object.
func byGit(t *testing.T, objects []object) map[string]map[string]bool {
	t.Helper()
	c := exec.Command("git", "fsck", "--strict", "--no-dangling", "--no-progress")
	c.Dir = repository(t, objects)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1"}
	out, _ := c.CombinedOutput()
	problems := map[string]map[string]bool{}
	for _, m := range complaint.FindAllStringSubmatch(string(out), -1) {
		if problems[m[1]] == nil {
			problems[m[1]] = map[string]bool{}
		}
		problems[m[1]][m[2]] = true
	}
	if len(problems) == 0 {
		t.Fatalf("git fsck found nothing:\n%s", out)
	}
	return problems
}

// compare checks that git and we have the same opinion of each object.
func compare(t *testing.T, objects []object) {
	t.Helper()
	theirs := byGit(t, objects)
	bad := 0
	for _, o := range objects {
		err := o.check(&Checker{}, &visits{})
		want := theirs[o.id()]
		if err == nil {
			if len(want) > 0 {
				t.Errorf("%s %q is sound; git: %v", o.kind, o.data, want)
			}
			continue
		}
		bad++
		if id := err.(*Problem).ID; !want[id] {
			t.Errorf("%s %q: %v; git: %v", o.kind, o.data, err, want)
		}
	}
	t.Logf("%d objects, %d of them bad", len(objects), bad)
}

var blob = object{"blob", "content\n"}

// names that mean something to some system, and some that only look so.
var names = []string{
	"a", "a.c", "a-", "a/b", "/", ".", "..", "...", ".git", ".GIT", ".Git ", ".git.", ".git. .", ".git:x", ".git::$INDEX_ALLOCATION", "git~1", "GIT~1", "git~2",
	"git~1 .", "git~10", ".gitx", ".g\u200cit", ".g\u200ci\u200dt\ufeff", "\u200e.git", ".git\u206a", ".git\xff", ".gi\xfft", ".g\u0131t", ".git\\x", "x\\.git", "x\\git~1",
	"x\\y\\.git ", "x\\.gitfoo", ".git\\", ".gitmodules", ".GITMODULES", ".gitmodules ", ".gitmodules:x", "gitmod~1", "gitmod~4", "gitmod~5", "GITMOD~2 .", "gi7eba~1",
	"gi7eb~01", "gi7eb~10", "gi7e~123", "g~1000000", "~1000000", "~0000000", "gi7eba~9x", "gi7ebax1", ".gitmod\u200cules", "x\\.gitmodules", "x\\gitmod~1", ".gitattributes", "gitatt~1",
	"gi7d29~3", ".gitignore", "gitign~1", ".mailmap", "maba30~1", "mailma~1", "foo", "foo.bar", "foo.bar.baz", "foo-", "foo0", "\x01", "\xff", "é", "con", "~", "g", "G", "m", "M", "",
	strings.Repeat("x", 300),
}

func entry(mode, name string, id string) string { return mode + " " + name + "\x00" + id }

func TestTrees(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	raw := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(blob.data), blob.data))
	id := string(raw[:])
	objects := []object{blob}
	modes := []string{"100644", "100755", "120000", "40000", "160000", "100664", "040000", "0100644", "100600", "10644", "60000", "777777777777", "1", "8", "", "1006x4"}
	for _, name := range names {
		for _, mode := range []string{"100644", "40000", "120000", "160000"} {
			objects = append(objects, object{"tree", entry(mode, name, id)})
		}
	}
	for _, mode := range modes {
		objects = append(objects, object{"tree", entry(mode, "x", id)}, object{"tree", entry("100644", "a", id) + entry(mode, "b", id)})
	}
	objects = append(objects, object{"tree", ""}, object{"tree", "x"}, object{"tree", entry("100644", "x", "short")}, object{"tree", entry("100644", "x", id) + "y"},
		object{"tree", strings.Repeat("1", 40)}, object{"tree", entry("100644", "x", strings.Repeat("\x00", 20))},
		object{"tree", "100644 x" + id}, object{"tree", entry("100644", "x", id)[:20]}, object{"tree", entry("100644", "x", id+id)})
	for range 3000 { // in order and not
		var b strings.Builder
		stems := []string{"foo", "foo.bar", "foo.bar.baz", "foo-", "foo0", "fo", "a", "a.c", "a-b", "b"}
		for range 1 + r.IntN(6) {
			b.WriteString(entry([]string{"100644", "40000", "40000", "120000"}[r.IntN(4)], stems[r.IntN(len(stems))], id))
		}
		objects = append(objects, object{"tree", b.String()})
	}
	for range 300 { // in order by chance only, so: in order on purpose
		var b strings.Builder
		for _, e := range [][2]string{{"100644", "foo"}, {"100644", "foo-"}, {"100644", "foo.bar"}, {"100644", "foo.bar.baz"}, {"40000", "foo.bar"}, {"40000", "foo"}, {"100644", "foo0"}} {
			if r.IntN(3) > 0 {
				b.WriteString(entry(e[0], e[1], id))
			}
		}
		objects = append(objects, object{"tree", b.String()})
	}
	compare(t, unique(objects))
}

func unique(objects []object) (out []object) {
	seen := map[string]bool{}
	for _, o := range objects {
		if !seen[o.id()] {
			seen[o.id()] = true
			out = append(out, o)
		}
	}
	return out
}

func TestCommitsAndTags(t *testing.T) {
	tree := object{"tree", ""}
	person := "a <a@b> 1700000000 +0000"
	people := []string{
		person, "<a@b> 1 +0000", " <a@b> 1 +0000", "a<a@b> 1 +0000", "a> <a@b> 1 +0000", "a 1 +0000", "a <a@b 1 +0000", "a <a<b> 1 +0000", "a <a@b>1 +0000", "a <a@b> 01 +0000",
		"a <a@b> 0 +0000", "a <a@b> x +0000", "a <a@b> 1+0000", "a <a@b> 1", "a <a@b> 1 ", "a <a@b> 1 0000", "a <a@b> 1 +000", "a <a@b> 1 +00000", "a <a@b> 1 -9999", "a <a@b> 1 +00x0",
		"a <a@b> 99999999999999999999 +0000", "a <a@b> 9223372036854775807 +0000", "a <a@b> 9223372036854775808 +0000", "a <a@b> 18446744073709551615 +0000", "a <> 1 +0000",
		"a <a@b> ", "a <a@b>", "", "a <a@b> 1 +0000 ", "a b c <a@b> 1 +0000", "a\x00 <a@b> 1 +0000",
	}
	objects := []object{tree, blob}
	add := func(kind, data string) { objects = append(objects, object{kind, data}) }
	good := "tree " + tree.id() + "\nauthor " + person + "\ncommitter " + person + "\n\nmessage\n"
	add("commit", good)
	base := object{"commit", good}
	for _, p := range people {
		add("commit", "tree "+tree.id()+"\nauthor "+p+"\ncommitter "+person+"\n\nx\n")
		add("commit", "tree "+tree.id()+"\nauthor "+person+"\ncommitter "+p+"\n\nx\n")
		add("tag", "object "+base.id()+"\ntype commit\ntag v1\ntagger "+p+"\n\nx\n")
	}
	for _, s := range []string{
		"", "\n", "tree", "tree " + tree.id(), "tree " + tree.id() + "\n", "tree x\n\n", "tree " + tree.id() + "x\n\n",
		strings.Replace(good, "\n\nmessage\n", "\n", 1), strings.Replace(good, "\n\nmessage\n", "", 1), strings.Replace(good, "message", "mess\x00age", 1),
		strings.Replace(good, "author", "author "+person+"\nauthor", 1), strings.Replace(good, "\nauthor "+person, "", 1), strings.Replace(good, "\ncommitter "+person, "", 1),
		strings.Replace(good, "\nauthor", "\nparent "+base.id()+"\nauthor", 1), strings.Replace(good, "\nauthor", "\nparent "+base.id()[:39]+"\nauthor", 1),
		strings.Replace(good, "\nauthor", "\nparent x\nauthor", 1), strings.Replace(good, "\n\nmess", "\nencoding x\ngpgsig y\n z\n\nmess", 1), strings.Replace(good, "\n\nmess", "\nodd\x00\n\nmess", 1),
		strings.ToUpper(good), strings.Replace(good, tree.id(), strings.ToUpper(tree.id()), 1),
	} {
		add("commit", s)
	}
	tag := "object " + base.id() + "\ntype commit\ntag v1\ntagger " + person + "\n\nx\n"
	for _, s := range []string{
		tag, "", "object", strings.Replace(tag, "type commit", "type x", 1), strings.Replace(tag, "type commit\n", "", 1), strings.Replace(tag, "tag v1\n", "", 1),
		strings.Replace(tag, "\ntagger "+person, "", 1), strings.Replace(tag, "v1", "v 1", 1), strings.Replace(tag, base.id(), "x", 1), "object " + base.id() + "\n",
		"object " + base.id() + "\ntype commit\n", "object " + base.id() + "\ntype commit\ntag x\n", strings.Replace(tag, "\n\nx", "\nodd\n\nx", 1), strings.Replace(tag, "\n\nx\n", "", 1),
		strings.Replace(tag, "commit\ntag", "tree\ntag", 1),
	} {
		add("tag", s)
	}
	objects = unique(objects)
	theirs := byGit(t, objects)
	bad := 0
	for _, o := range objects {
		err := o.check(&Checker{}, &visits{})
		want := theirs[o.id()]
		if (err == nil) == (len(want) > 0) {
			// What git cannot even parse it does not name by one of its problems.
			if p, ok := err.(*Problem); ok && len(want) == 0 && unparsable[p.ID] {
				continue
			}
			t.Errorf("%s %q: %v; git: %v", o.kind, o.data, err, want)
			continue
		}
		if err != nil {
			bad++
			if id := err.(*Problem).ID; !want[id] && !want["unknown"] {
				t.Errorf("%s %q: %v; git: %v", o.kind, o.data, err, want)
			}
		}
	}
	t.Logf("%d objects, %d of them bad", len(objects), bad)
}

// unparsable are the problems of objects that git fsck reports without a name.
var unparsable = map[string]bool{"missingTree": true, "badTreeSha1": true, "badParentSha1": true, "missingObject": true, "badObjectSha1": true, "missingTypeEntry": true,
	"badType": true, "missingTagEntry": true, "missingType": true, "unterminatedHeader": true, "nulInHeader": true, "missingTag": true, "missingAuthor": true}

func TestSpecialFiles(t *testing.T) {
	long := strings.Repeat("x", 2047)
	modules := []string{
		"", "[submodule \"a\"]\n\tpath = a\n\turl = https://example.com/a\n", "[submodule \"../a\"]\n\tpath=a\n", "[submodule \"a/../b\"]\nurl=x\n", "[submodule \"a\\\\..\\\\b\"]\nurl=x\n",
		"[submodule \"..a\"]\npath=x", "[submodule \"\"]\nurl=x\n", "[submodule \"a\"]\nurl = -x\n", "[submodule \"a\"]\nurl = \"-x\"\n", "[submodule \"a\"]\npath = -x # y\n",
		"[submodule \"a\"]\nupdate = !rm\n", "[submodule \"a\"]\nupdate = checkout\n", "[submodule \"a\"]\nURL = -x\n", "[SubModule \"a\"]\nurl = -x\n", "[submodule]\nurl = -x\n",
		"[submodule.a]\nurl = -x\n", "[submodule \"a\"] url = -x\n", "[submodule \"a\"]\nurl = ../../x\n", "[submodule \"a\"]\nurl = ../:x\n", "[submodule \"a\"]\nurl = ..//x\n",
		"[submodule \"a\"]\nurl = ./%0ax\n", "[submodule \"a\"]\nurl = git://x/%0ay\n", "[submodule \"a\"]\nurl = https://x/%0ay\n", "[submodule \"a\"]\nurl = https://%0ax/y\n",
		"[submodule \"a\"]\nurl = http:///x\n", "[submodule \"a\"]\nurl = http::x\n", "[submodule \"a\"]\nurl = https::http://x\n", "[submodule \"a\"]\nurl = ssh://x\n",
		"[submodule \"a\"]\nurl = https://u:p@/x\n", "[submodule \"a\"]\nurl = https://u%0a:p@h/x\n", "[submodule \"a\"]\nurl = \"a\\nb\"\n", "[submodule \"a\"]\nurl = \"https://h/a\\nb\"\n",
		"[submodule \"a\"]\nurl\n", "[submodule \"a\"]\nbad line here\nurl = -x\n", "[submodule \"a\"]\nurl = a\\\n-x\n", "# c\n; d\n[submodule \"a\"]\r\nurl = -x\r\n",
		"[submodule \"a\"]\nurl = \\x\npath = -x\n", "[submodule \"a\\\"..\"]\nurl=x", "[submodule \"a\" ]\nurl = -x", "[submodule \"a\"]\n1x = y\npath = -x", "[submodule \"a\"]\nurl = 'x\npath = -x",
		"[submodule \"a\"]\nurl = \"x\npath = -x", "[submodule \"a\"]url=-x;y", "[submodule \"a\"]\nurl = x -x\nx-y = 1\npath=  \"-\"x", "[submodule \"a\"]\nurl = ..\\x\n", "[submodule \"a\"]\nurl = ..\\:x\n",
		"[submodule \"a\"]\nurl = https://@/x\n", "[submodule \"a\"]\nurl = https://h?%0a\n", "[submodule \"a\"]\nurl = https://h#%0a\n", "[submodule \"a\"]\nurl = https://?x\n", "[submodule \"a\"]\nurl = ftp://\n",
		"[submodule \"a\"]\nurl = https://h%0\n", "[submodule \"a\"]\nurl = ./%zz%0a\n",
	}
	attributes := []string{"", "* text\n", long + "\n", long + "x\n", "a\n" + long + "x", long + "\x00xxxx\n"}
	var objects []object
	file := map[string]string{}
	tree := func(name, content string) {
		o := object{"blob", content}
		raw := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
		file[o.id()] = name
		objects = append(objects, o, object{"tree", entry("100644", name, string(raw[:]))})
	}
	for _, m := range modules[1:] {
		tree(".gitmodules", m)
	}
	for _, a := range attributes[1:] {
		tree(".gitattributes", a)
	}
	objects = append(objects, object{"tree", entry("120000", ".gitmodules", strings.Repeat("1", 20))})
	theirs := byGit(t, objects)
	bad := 0
	for _, o := range objects {
		if o.kind != "blob" {
			continue
		}
		err := (&Checker{}).Modules([]byte(o.data))
		if file[o.id()] == ".gitattributes" {
			err = (&Checker{}).Attributes([]byte(o.data))
		}
		want := theirs[o.id()]
		if (err == nil) != (len(want) == 0) || err != nil && !want[err.(*Problem).ID] {
			t.Errorf("%s %q: %v; git: %v", file[o.id()], o.data, err, want)
		}
		if err != nil {
			bad++
		}
	}
	t.Logf("%d files, %d of them bad", len(file), bad)
}

// TestByteOrderMark: git skips the mark in a file, but not in a blob that it checks. We go by what it does with the file.
func TestByteOrderMark(t *testing.T) {
	if err := (&Checker{}).Modules([]byte("\xef\xbb\xbf[submodule \"a\"]\nurl = -x\n")); err == nil {
		t.Error("a byte order mark hides a URL")
	}
}

func TestIgnore(t *testing.T) {
	data := []byte(entry("0100644", "x", strings.Repeat("1", 20)))
	if err := (&Checker{}).Tree(data, &visits{}); err == nil {
		t.Error("a padded mode passes")
	}
	if err := (&Checker{Ignore: map[string]bool{"zeroPaddedFilemode": true}}).Tree(data, &visits{}); err != nil {
		t.Error(err)
	}
}

func FuzzTree(f *testing.F) {
	for _, name := range names {
		f.Add([]byte(entry("100644", name, strings.Repeat("1", 20)) + entry("40000", "x\\"+name, strings.Repeat("2", 20))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v := &visits{}
		err := (&Checker{}).Tree(data, v)
		if err != nil {
			return
		}
		// A sound tree is what its entries say, written again.
		var again []byte
		for rest := data; len(rest) > 0; {
			head, tail, ok := bytes.Cut(rest, []byte{0})
			if !ok || len(tail) < 20 {
				t.Fatalf("%q is no tree", data)
			}
			_, name, _ := bytes.Cut(head, []byte(" "))
			// Case is that of ASCII: no file system takes a dotted capital I for an i.
			if s := string(bytes.Map(func(r rune) rune {
				if r < 128 {
					return unicode.ToLower(r)
				}
				return r
			}, name)); s == "" || s == "." || s == ".." || s == ".git" || strings.Contains(s, "/") {
				t.Fatalf("%q has the name %q", data, name)
			}
			again = append(append(append(again, head...), 0), tail[:20]...)
			rest = tail[20:]
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%q is not %q", again, data)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"))
	f.Add([]byte("object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype tree\ntag x\ntagger a <a@b> 1 +0000\n\nx\n"))
	f.Add([]byte("[submodule \"a\"]\nurl = ../%0a\npath = \"a\\\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, v := &Checker{}, &visits{}
		_ = c.Commit(data, v)
		_ = c.Tag(data, v)
		_ = c.Modules(data)
		_ = c.Attributes(data)
	})
}
