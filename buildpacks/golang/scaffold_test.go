package golang

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// What the app has under the name of the made program stays as it is, be it a file or a link.
func TestScaffold_NameTaken(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.txt")
	if err := os.WriteFile(other, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := bptest.Tree(t, map[string]string{"go.mod": plain, "handler.go": "package main\n" + importHTTP + "func Handler" + httpFunc, "gitd_main.go": "package main\n"})
	if err := os.Symlink(other, filepath.Join(app, "gitd_main2.go")); err != nil {
		t.Fatal(err)
	}
	m, err := readModule(app)
	if err != nil {
		t.Fatal(err)
	}
	f := &fn{dir: ".", main: "run()", pkg: &signature.Package{Name: "main"}}
	made, err := (Buildpack{Out: io.Discard}).scaffold(app, m, f, kit.Env{})
	if err != nil || made.dir != "." {
		t.Fatal(made, err)
	}
	if got := kit.Text(app, "gitd_main.go") + " " + kit.Text(other); got != "package main kept" {
		t.Error(got)
	}
	if !kit.IsFile(app, "gitd_main3.go") {
		t.Error("the program is not made")
	}
}
