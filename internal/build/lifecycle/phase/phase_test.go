package phase

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// A build's programs may have put anything in the group's place.
func TestReadGroup(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "group.toml")
	write := func(text string) func() error {
		return func() error { return os.WriteFile(file, []byte(text), 0o600) }
	}
	outside := filepath.Join(t.TempDir(), "group.toml")
	if err := os.WriteFile(outside, []byte("[[group]]\nid = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func() error
		want *Group // nil: an error
	}{
		"a group": {write("[[group]]\nid = \"gitd/go\"\nversion = \"1\"\napi = \"0.10\"\nhomepage = \"x\"\n[[group]]\nid = \"b\"\nversion = \"2\"\n[[group-extensions]]\nid = \"e\"\n"),
			&Group{Buildpacks: []Buildpack{{"gitd/go", "1"}, {"b", "2"}}, Extensions: []Buildpack{{ID: "e"}}}},
		"empty":     {write(""), &Group{}},
		"missing":   {func() error { return nil }, nil},
		"no TOML":   {write("[[group"), nil},
		"others":    {write("group = 3\n"), nil},
		"too large": {write(strings.Repeat("#\n", 1<<20)), nil},
		"a link":    {func() error { return os.Symlink(outside, file) }, nil},
		"a pipe":    {func() error { return syscall.Mkfifo(file, 0o600) }, nil},
		"a folder":  {func() error { return os.Mkdir(file, 0o700) }, nil},
	} {
		_ = os.Remove(file)
		if err := c.make(); err != nil {
			t.Fatal(err)
		}
		got, err := ReadGroup(dir)
		if (c.want == nil) != (err != nil) || c.want != nil && !reflect.DeepEqual(got, *c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
