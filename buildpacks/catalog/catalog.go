// Package catalog lists the buildpacks for those who make a builder image: what to install where, and in which order
// detection tries them. It imports none of the buildpacks' code.
package catalog

import (
	"embed"
	"fmt"
	"path"

	"github.com/BurntSushi/toml"
)

// API is the Buildpack API of all of them: the newest that libcnb speaks.
const API = "0.8"

// Version is the version of all of them.
const Version = "0.1.0"

// The identifiers of the buildpacks.
const (
	Deno     = "gitd/deno"
	DotNet   = "gitd/dotnet"
	Elixir   = "gitd/elixir"
	Go       = "gitd/go"
	NodeJS   = "gitd/nodejs"
	Python   = "gitd/python"
	PHP      = "gitd/php"
	Ruby     = "gitd/ruby"
	Rust     = "gitd/rust"
	Java     = "gitd/java"
	Static   = "gitd/static"
	Procfile = "gitd/procfile"
	Packages = "gitd/packages"
)

// The folders of the build image that the buildpacks take their tools from.
const (
	GoRoot    = "/opt/gitd/go"      // a Go toolchain: bin/go, pkg, src
	GoCache   = "/opt/gitd/gocache" // the compiled standard library: see SeedGoCache
	NodeRoot  = "/opt/gitd/node"    // bin/node, bin/npm, bin/npx, lib/node_modules/npm
	PythonExe = "/usr/bin/python3"  // also in the run image, at the same path
	UVRoot    = "/opt/gitd/uv"      // bin/uv, bin/uvx
	NginxExe  = "/usr/sbin/nginx"   // with /etc/nginx/mime.types beside it

	// Program is all buildpacks in one program, which prepares Debian packages for all apps as well.
	Program = "/opt/gitd/bin/buildpacks"
	// LambdaProgram runs functions that are written for AWS Lambda: buildpacks put it beside them.
	LambdaProgram = "/opt/gitd/bin/gitd-lambda"
	// RunStatus is what dpkg knows of the run image, in the build image: what a package for the run image needs is compared with it.
	RunStatus = "/opt/gitd/run.status"
)

// SeedGoCache returns the command that fills the folder cache with the compiled standard library, and its environment (to be
// added to PATH and HOME). Run it in an empty folder that is not inside a module. The flags are those of the Go buildpack:
// with others the compiler's cache would not hit.
func SeedGoCache(goroot, cache string) (args, env []string) {
	return []string{path.Join(goroot, "bin/go"), "build", "-trimpath", "std"}, []string{
		"GOROOT=" + goroot, "GOCACHE=" + cache, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "GOENV=off",
		"GOWORK=off", "GO111MODULE=on", "GOTELEMETRY=off",
	}
}

// AskedVariable is set in a build whose app says which buildpacks take part.
const AskedVariable = "BP_GITD_ASKED"

// FunctionVariable is set in a build whose app has settings of a function: JSON, function.Settings.
const FunctionVariable = "BP_GITD_FUNCTION"

// DetectTogether is the argument by which Program detects for all of our buildpacks: for each folder of one that it reads from its input, a string of JSON, it
// writes a Detection to its descriptor 3. Its environment is that of a buildpack's detection, without what names one buildpack.
const DetectTogether = "detect-together"

// BuildpackAPI is what our buildpacks are written for.
const BuildpackAPI = "0.8"

// Detection is how a buildpack's detection ended.
type Detection struct {
	Code   int    // exit status
	Output string // stdout and stderr
	Plan   string // the build plan, TOML
}

// Buildpack is one buildpack of the catalog.
type Buildpack struct {
	ID         string
	Name       string
	Version    string
	Descriptor []byte // the content of buildpack.toml
}

// Dir is where the buildpack lives in a builder image: buildpack.toml, bin/detect and bin/build, the latter two being the
// buildpacks binary (or links to it).
func (b Buildpack) Dir() string { return path.Join("/cnb/buildpacks", EscapeID(b.ID), b.Version) }

// EscapeID writes an identifier as a folder's name.
func EscapeID(id string) string {
	out := []byte(id)
	for i, c := range out {
		if c == '/' {
			out[i] = '_'
		}
	}
	return string(out)
}

//go:embed */buildpack.toml
var descriptors embed.FS

// All returns the buildpacks.
func All() []Buildpack {
	var all []Buildpack
	for _, dir := range []string{"go", "rust", "java", "elixir", "dotnet", "deno", "nodejs", "python", "ruby", "php", "static", "procfile", "packages"} {
		data, err := descriptors.ReadFile(dir + "/buildpack.toml")
		if err != nil {
			panic(fmt.Sprintf("catalog: %v", err)) // embedded: cannot happen in a binary that was built
		}
		var d struct {
			Buildpack struct {
				ID, Name, Version string
			}
		}
		if err := toml.Unmarshal(data, &d); err != nil {
			panic(fmt.Sprintf("catalog: %s: %v", dir, err))
		}
		all = append(all, Buildpack{ID: d.Buildpack.ID, Name: d.Buildpack.Name, Version: d.Buildpack.Version, Descriptor: data})
	}
	return all
}

// Entry is a buildpack in a group.
type Entry struct {
	ID       string
	Version  string
	Optional bool
}

// Order is the order of detection: the first group whose required buildpacks all pass is the one that builds. static follows
// nodejs for apps whose build script makes a site and that have nothing to start. packages comes before all of them.
func Order() [][]Entry {
	need := func(id string) Entry { return Entry{ID: id, Version: Version} }
	may := func(id string) Entry { return Entry{ID: id, Version: Version, Optional: true} }
	order := [][]Entry{
		{need(Go), may(Procfile)},
		{need(Rust), may(Procfile)},
		{need(Java), may(Procfile)},
		{need(Elixir), may(Procfile)},
		{need(DotNet), may(Static), may(Procfile)},
		{need(Deno), may(Procfile)},
		{need(NodeJS), may(Static), may(Procfile)},
		{need(Python), may(Static), may(Procfile)},
		{need(Ruby), may(Static), may(Procfile)},
		{need(PHP), may(Procfile)},
		{need(Static), may(Procfile)},
		{need(Procfile)},
	}
	for i := range order {
		order[i] = append([]Entry{may(Packages)}, order[i]...)
	}
	return order
}
