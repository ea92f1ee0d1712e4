package rust

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// metadata is what cargo metadata says of the app's own packages.
type metadata struct {
	Packages []pkg    `json:"packages"`
	Members  []string `json:"workspace_members"`
	Default  []string `json:"workspace_default_members"`
	Root     string   `json:"workspace_root"`
}

// pkg is a package of the workspace.
type pkg struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Manifest     string       `json:"manifest_path"`
	DefaultRun   string       `json:"default_run"`
	Dependencies []dependency `json:"dependencies"`
	Targets      []struct {
		Kind     []string `json:"kind"`
		Name     string   `json:"name"`
		Features []string `json:"required-features"`
	} `json:"targets"`
}

// dependency is a package that another one names.
type dependency struct {
	Name string  `json:"name"`
	Kind *string `json:"kind"` // "dev", "build"; nil for one that the program consists of
}

// dependsOn tells whether the package names another one for its programs.
func (p *pkg) dependsOn(name string) bool {
	return slices.ContainsFunc(p.Dependencies, func(d dependency) bool { return d.Kind == nil && d.Name == name })
}

// spec is the option that names the package to cargo. Its name alone is not enough where it depends on one that is called the same.
func (p *pkg) spec() string {
	if strings.Contains(p.ID, "#") { // which cargo takes as a name since 1.77
		return "--package=" + p.ID
	}
	return "--package=" + p.Name
}

// program is a binary of a package.
type program struct {
	pkg      *pkg
	name     string
	features []string // that must be on for it to be built
}

// programs lists the package's binaries.
func (p *pkg) programs() (list []program) {
	for _, t := range p.Targets {
		if slices.Contains(t.Kind, "bin") {
			list = append(list, program{p, t.Name, t.Features})
		}
	}
	return list
}

// servers are packages that an app depends on to answer requests.
var servers = []string{"axum", "actix-web", "rocket", "warp", "poem", "poem-openapi", "salvo", "tide", "hyper", "ntex", "tonic", "gotham", "iron", "nickel", "rouille", "tiny_http", "viz", "trillium", "trillium-smol", "trillium-tokio",
	"loco-rs", "leptos_axum", "leptos_actix", "dioxus-fullstack", "async-graphql-axum", "async-graphql-actix-web", "juniper_rocket", "cot", "thruster", "axum-server", "pingora", "volo-http", "may_minihttp", "astra", "xitca-web", "graphul", "dropshot", "httpz"}

// serves tells whether a package depends on one of them.
func (p *pkg) serves() bool { return slices.ContainsFunc(servers, p.dependsOn) }

// serves tells whether a package depends on one of them, by itself or through other packages of the app.
func (m metadata) serves(p *pkg) bool {
	seen := map[string]bool{}
	var visit func(p *pkg) bool
	visit = func(p *pkg) bool {
		seen[p.Name] = true
		if p.serves() {
			return true
		}
		for i := range m.Packages {
			if q := &m.Packages[i]; !seen[q.Name] && p.dependsOn(q.Name) && visit(q) {
				return true
			}
		}
		return false
	}
	return visit(p)
}

// readMetadata asks cargo for the packages of the workspace, without looking at what they depend on.
func readMetadata(app string, env kit.Env) (metadata, error) {
	var m metadata
	tail := &kit.Tail{}
	out, err := kit.Cmd{Args: []string{"cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"}, Dir: app, Env: env, Out: tail, Name: "cargo metadata"}.Output()
	if err != nil {
		if why := firstError(tail.String()); why != "" {
			return m, kit.Errorf("correct it: cargo metadata says the same", "cargo cannot read the app: %s", why)
		}
		return m, err
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return m, kit.Errorf("", "what cargo metadata prints cannot be read: %v", err)
	}
	return m, nil
}

// all lists the programs of the packages with these IDs.
func (m metadata) all(ids []string) (list []program) {
	for i := range m.Packages {
		if slices.Contains(ids, m.Packages[i].ID) {
			list = append(list, m.Packages[i].programs()...)
		}
	}
	return list
}

// root is the package at the root of the workspace; nil if it has none.
func (m metadata) root() *pkg {
	for i := range m.Packages {
		if filepath.Dir(m.Packages[i].Manifest) == m.Root {
			return &m.Packages[i]
		}
	}
	return nil
}

// choosePrograms finds the programs to build, the one for the web first: those of the members that were asked for, else the one that the rules of
// chooseWeb give. Others are built when the Procfile names them.
func choosePrograms(m metadata, asked []string, procs []procfile.Process) ([]program, error) {
	candidates := m.all(m.Default)
	if r := m.root(); r != nil && len(r.programs()) > 0 {
		candidates = r.programs()
	}
	everything := m.all(m.Members)
	if len(asked) > 0 {
		return askedPrograms(m, asked, procs)
	}
	if len(candidates) == 0 {
		candidates = everything
	}
	if len(candidates) == 0 {
		return nil, kit.Errorf("add src/main.rs", "no package of the app has a program, only libraries")
	}
	web, err := chooseWeb(m, candidates, everything, procs)
	if err != nil {
		return nil, err
	}
	return withNamed([]program{web}, everything, procs), nil
}

// withNamed adds the programs that the Procfile names.
func withNamed(list, everything []program, procs []procfile.Process) []program {
	for _, p := range everything {
		named := slices.ContainsFunc(procs, func(proc procfile.Process) bool { return proc.Names(p.name) })
		if named && !slices.ContainsFunc(list, func(o program) bool { return o.name == p.name }) {
			list = append(list, p)
		}
	}
	return list
}

// chooseWeb finds the program that serves the web.
func chooseWeb(m metadata, candidates, everything []program, procs []procfile.Process) (program, error) {
	for _, proc := range procs {
		for _, p := range everything {
			if proc.Type == "web" && proc.Names(p.name) {
				return p, nil
			}
		}
	}
	if len(candidates) == 1 {
		return candidates[0], nil
	}
	one := func(group []program, fits func(program) bool) (program, bool) {
		var found []program
		for _, p := range group {
			if fits(p) {
				found = append(found, p)
			}
		}
		if len(found) == 1 {
			return found[0], true
		}
		return program{}, false
	}
	isRoot := func(p program) bool { return filepath.Dir(p.pkg.Manifest) == m.Root }
	for _, fits := range []func(program) bool{
		func(p program) bool { return isRoot(p) && p.pkg.DefaultRun == p.name },
		func(p program) bool { return p.pkg.DefaultRun == p.name },
		func(p program) bool { return isRoot(p) && p.name == p.pkg.Name },
		func(p program) bool { return p.pkg.serves() },
		func(p program) bool { return m.serves(p.pkg) },
		func(p program) bool { return m.serves(p.pkg) && p.name == p.pkg.Name },
		func(p program) bool { return slices.Contains([]string{"web", "server", "app", "api"}, p.name) },
		func(p program) bool { return p.name == filepath.Base(m.Root) || p.name == "web" || p.name == "server" },
	} {
		if p, ok := one(candidates, fits); ok {
			return p, nil
		}
	}
	var names []string
	for _, p := range candidates {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return program{}, kit.Errorf("name it in default-run of Cargo.toml, or its package in BP_CARGO_WORKSPACE_MEMBERS, or start it in a Procfile (web: NAME)",
		"the app has several programs, and gitd cannot tell which one to start: %s", strings.Join(names, ", "))
}

func askedPrograms(m metadata, asked []string, procs []procfile.Process) (list []program, err error) {
	for _, a := range asked {
		i := slices.IndexFunc(m.Packages, func(p pkg) bool {
			rel, err := filepath.Rel(m.Root, filepath.Dir(p.Manifest))
			return p.Name == a || err == nil && rel == filepath.Clean(a)
		})
		if i < 0 {
			return nil, kit.Errorf("name packages of the workspace", "BP_CARGO_WORKSPACE_MEMBERS names %s, which is no package of the app", a)
		}
		programs := m.Packages[i].programs()
		if len(programs) == 0 {
			return nil, kit.Errorf("name packages that have one", "BP_CARGO_WORKSPACE_MEMBERS names %s, which has no program", a)
		}
		if len(list) == 0 {
			web, err := chooseWeb(m, programs, programs, procs)
			if err != nil {
				return nil, err
			}
			list = append(list, web)
		}
		for _, p := range programs {
			if !slices.ContainsFunc(list, func(o program) bool { return o.name == p.name }) {
				list = append(list, p)
			}
		}
	}
	return list, nil
}
