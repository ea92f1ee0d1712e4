// Command buildpacks is all of gitd's buildpacks in one binary. It is installed as bin/detect and bin/build of each: the name
// that it is called by says which phase, and the identifier in the buildpack.toml beside it which buildpack. As "buildpacks detect-together" it detects
// for all of them (together.go), and as "buildpacks prepare REQUESTS CACHE SHARED" it prepares Debian packages for the builds of all apps: see package
// debs.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/deno"
	"github.com/gitd-io/gitd/buildpacks/dotnet"
	"github.com/gitd-io/gitd/buildpacks/elixir"
	"github.com/gitd-io/gitd/buildpacks/golang"
	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/java"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/buildpacks/packages"
	"github.com/gitd-io/gitd/buildpacks/php"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/buildpacks/python"
	"github.com/gitd-io/gitd/buildpacks/ruby"
	"github.com/gitd-io/gitd/buildpacks/rust"
	"github.com/gitd-io/gitd/buildpacks/static"
)

// buildpack is both phases of one.
type buildpack interface {
	libcnb.Detector
	libcnb.Builder
}

// exit is how libcnb ends the process: errors become the line that the engine looks for.
type exit struct{}

// Error implements libcnb.ExitHandler.
func (exit) Error(err error) {
	fmt.Fprintf(os.Stderr, "gitd-error: %s\n", kit.Line(err))
	os.Exit(1)
}

// Fail implements libcnb.ExitHandler. 100 means "not for me".
func (exit) Fail() { os.Exit(100) }

// Pass implements libcnb.ExitHandler.
func (exit) Pass() { os.Exit(0) }

func main() {
	if len(os.Args) == 5 && os.Args[1] == "prepare" {
		if err := prepare(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			exit{}.Error(err)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == catalog.DetectTogether {
		if err := detectTogether(os.Stdin, os.NewFile(3, "answers")); err != nil {
			exit{}.Error(err)
		}
		return
	}
	phase := filepath.Base(os.Args[0])
	dir := os.Getenv("CNB_BUILDPACK_DIR")
	if dir == "" {
		dir = strings.TrimSuffix(os.Args[0], filepath.Join("bin", phase))
	}
	id, bp, err := at(dir, os.Stdout)
	switch {
	case err != nil:
		exit{}.Error(err)
	case phase == "detect":
		libcnb.Detect(chosen{bp, id, os.Stdout}, libcnb.WithExitHandler(exit{}))
	case phase == "build":
		libcnb.Build(bp, libcnb.WithExitHandler(exit{}))
	default:
		exit{}.Error(kit.Errorf("", "called as %q: call it as bin/detect or bin/build of a buildpack", phase))
	}
}

// at returns the buildpack in a folder of the builder image, with its identifier. It says to out what it detects and builds.
func at(dir string, out io.Writer) (string, buildpack, error) {
	var descriptor struct {
		Buildpack struct {
			ID string
		}
	}
	if _, err := toml.DecodeFile(filepath.Join(dir, "buildpack.toml"), &descriptor); err != nil {
		return "", nil, kit.Errorf("the builder image may be broken", "cannot tell which buildpack this is: %v", err)
	}
	id := descriptor.Buildpack.ID
	bp := find(id, out)
	if bp == nil {
		return "", nil, kit.Errorf("the builder image may be broken", "there is no buildpack %q here", id)
	}
	return id, bp, nil
}

// prepare prepares what a file of requests asks for.
func prepare(requests, cache, shared string) error {
	in, err := os.Open(requests)
	if err != nil {
		return err
	}
	defer in.Close()
	return debs.Prepare(in, cache, shared, kit.NewEnv(nil), os.Stdout)
}

func find(id string, out io.Writer) buildpack {
	switch id {
	case catalog.Deno:
		return deno.New(out)
	case catalog.DotNet:
		return dotnet.New(out)
	case catalog.Elixir:
		return elixir.New(out)
	case catalog.Go:
		return golang.New(out)
	case catalog.NodeJS:
		return node.New(out)
	case catalog.Python:
		return python.New(out)
	case catalog.PHP:
		return php.New(out)
	case catalog.Ruby:
		return ruby.New(out)
	case catalog.Rust:
		return rust.New(out)
	case catalog.Java:
		return java.New(out)
	case catalog.Static:
		return static.New(out)
	case catalog.Packages:
		return packages.New(out)
	case catalog.Procfile:
		return procfile.Buildpack{Check: check, Lambda: catalog.LambdaProgram, Out: out}
	}
	return nil
}

// check finds what a language's buildpack would fail on in detection, and apps in a language that none here builds: their Procfile alone would start
// nothing.
func check(app string, env kit.Env) error {
	if err := golang.Check(app); err != nil {
		return err
	}
	if err := rust.Check(app); err != nil {
		return err
	}
	if err := node.Check(app); err != nil {
		return err
	}
	if err := java.Check(app); err != nil {
		return err
	}
	if err := dotnet.Check(app); err != nil {
		return err
	}
	for _, f := range []string{"deno.json", "deno.jsonc", "Cargo.toml", "go.mod", "go.work", "requirements.txt", "pyproject.toml", "setup.py", "uv.lock", "Pipfile.lock"} {
		if kit.Exists(app, f) {
			return nil
		}
	}
	if node.Takes(app) {
		return nil
	}
	if l := kit.UnbuiltLanguage(app); l.Name != "" && !bringsProgram(app, env) {
		return kit.Errorf(l.WayOut(app), "the app is written in %s (%s), which this builder does not build", l.Name, l.File)
	}
	return nil
}

// bringsProgram tells whether what the Procfile starts can be there: the app has the program, or asks for packages of Debian's.
func bringsProgram(app string, env kit.Env) bool {
	if len(env.Words(catalog.PackagesVariable)) > 0 || kit.IsFile(app, "Aptfile") {
		return true
	}
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		for _, w := range strings.Fields(p.Command) {
			if strings.Contains(w, "/") && filepath.IsLocal(w) && kit.IsFile(app, w) {
				return true
			}
		}
	}
	return false
}
