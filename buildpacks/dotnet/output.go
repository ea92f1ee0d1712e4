package dotnet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// output is a published program.
type output struct {
	project    *project // nil for one that was pushed as such
	dir        string   // its folder; where the app runs, below the app: ""
	name       string   // NAME.dll or NAME
	start      []string // how it starts, in its folder
	frameworks []wanted // what it needs of a runtime; none for one that has it within
	invariant  bool     // it needs no ICU
}

// wanted is a framework that a program needs: Microsoft.AspNetCore.App 8.0.0.
type wanted struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// configuration is the part of NAME.runtimeconfig.json that is read.
type configuration struct {
	Options struct {
		Framework  *wanted        `json:"framework"`
		Frameworks []wanted       `json:"frameworks"`
		Included   []wanted       `json:"includedFrameworks"`
		Properties map[string]any `json:"configProperties"`
	} `json:"runtimeOptions"`
}

// readOutput finds out how what was published starts, and what it needs.
func readOutput(dir string, p *project) (output, error) {
	o := output{project: p, dir: dir, name: p.assembly()}
	if p.kind() == site {
		return o, nil
	}
	if kit.IsFile(dir, o.name+runtimeConfig) {
		return o, o.configure()
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*"+runtimeConfig)) // a constant pattern but for the folder
	if len(found) == 1 {
		o.name = strings.TrimSuffix(filepath.Base(found[0]), runtimeConfig)
		return o, o.configure()
	}
	if kit.IsFile(dir, o.name) { // one file, or compiled ahead of time: what it needs is what the project says
		o.start = []string{"./" + o.name}
		o.invariant = p.is("invariantglobalization")
		if !p.is("publishaot") && !p.is("selfcontained") && !p.is("publishselfcontained") {
			f, err := p.framework()
			if err != nil {
				return o, err
			}
			o.frameworks = []wanted{{kit.Pick(p.kind() == web, aspnetApp, coreApp), f.channel + ".0"}}
		}
		return o, nil
	}
	return o, kit.Errorf("set <OutputType>Exe</OutputType> in it, or publish another project: "+settingProject, "%s was published, and there is no program in it: neither %s.dll with %s%s nor %s", p.path, o.name, o.name, runtimeConfig, o.name)
}

// configure reads the program's configuration.
func (o *output) configure() error {
	var c configuration
	data, err := kit.ReadFile(o.dir, o.name+runtimeConfig)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(kit.Decode(data)), &c); err != nil {
		return kit.Errorf("publish the app again", "%s%s cannot be read: %v", o.name, runtimeConfig, err)
	}
	o.frameworks = c.Options.Frameworks
	if c.Options.Framework != nil {
		o.frameworks = append(o.frameworks, *c.Options.Framework)
	}
	o.invariant, _ = c.Options.Properties["System.Globalization.Invariant"].(bool)
	o.start = []string{"dotnet", o.name + ".dll"}
	if len(c.Options.Included) > 0 || !kit.IsFile(o.dir, o.name+".dll") {
		o.start = []string{"./" + o.name}
		if kit.IsFile(o.dir, o.name) { // pushed from a system that knows no such bit
			return os.Chmod(filepath.Join(o.dir, o.name), 0o755)
		}
	}
	return nil
}

// packages lists what NAME.deps.json says of packages.
func (o output) packages() (list []kit.Package) {
	var deps struct {
		Libraries map[string]struct{ Type string }
	}
	data, err := kit.ReadFile(o.dir, o.name+".deps.json")
	if err != nil || json.Unmarshal(data, &deps) != nil {
		return nil
	}
	for id, l := range deps.Libraries {
		if name, version, ok := strings.Cut(id, "/"); ok && l.Type == "package" {
			list = append(list, kit.Package{Name: name, Version: version, PURL: "pkg:nuget/" + name})
		}
	}
	return list
}

// replace puts what was published in the place of the sources: the app at the root, other programs in folders of their assemblies' names.
func (b *build) replace() error {
	procs := processesOf(b.app)
	if err := kit.Prune(b.app, func(rel string, _ os.DirEntry) bool {
		return rel != "Procfile" && rel != publishFolder && !strings.HasPrefix(rel, publishFolder+"/")
	}); err != nil {
		return err
	}
	for i := range b.outputs {
		o := &b.outputs[i]
		to := b.app
		if i > 0 {
			to = filepath.Join(b.app, o.name)
			if kit.Exists(to) { // the app has a file of that name
				to += ".app"
			}
		}
		if o.project.kind() == site {
			o.dir, to = filepath.Join(o.dir, "wwwroot"), filepath.Join(b.app, SiteFolder)
		}
		if err := moveInto(o.dir, to); err != nil {
			return err
		}
		o.dir = to
	}
	if err := os.RemoveAll(filepath.Join(b.app, publishFolder)); err != nil {
		return err
	}
	b.runs = b.script(procs)
	return b.paths(procs)
}

// moveInto moves what is in a folder into another one.
func moveInto(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if kit.Exists(to, e.Name()) { // the Procfile, which a project may publish as well
			continue
		}
		if err := kit.Move(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
