package dotnet

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// settingProject names the projects to publish, the first of which is the app.
const settingProject = "BP_DOTNET_PROJECT_PATH"

// targets are what is published.
type targets struct {
	main      *project
	others    []*project // further programs, each for a process
	framework framework  // of main
	newest    framework  // of all that is compiled: it decides which SDK can
	all       []*project // all that is compiled
	why       string     // how main was found among several; "" for the only one
}

// findTargets reads the app's projects, and finds those to publish.
func findTargets(app string, env kit.Env) (targets, error) {
	var t targets
	files, err := findProjects(app)
	if err != nil {
		return t, err
	}
	all := map[string]*project{}
	for _, f := range files {
		if all[f], err = readProject(app, f); err != nil {
			return t, err
		}
	}
	procs := processesOf(app)
	if f := singleFile(app); len(files) == 0 && f != "" {
		files, all[f] = []string{f}, readSingle(app, f)
	}
	if asked := env.Words(settingProject); len(asked) > 0 {
		if err := t.ask(asked, files, all); err != nil {
			return t, err
		}
	} else if err := t.choose(candidates(app, files, all), procs); err != nil {
		return t, err
	}
	if t.framework, err = t.main.framework(); err != nil {
		return t, err
	}
	t.addNamed(files, all, procs)
	t.newest = t.framework
	t.all = t.compiled(all)
	for _, p := range t.all {
		if f, err := p.framework(); err == nil && kit.CompareVersions(numbers(f.channel), numbers(t.newest.channel)) > 0 {
			t.newest = f
		}
	}
	return t, nil
}

// ask takes the projects that the setting names: files, or the folders that they are in.
func (t *targets) ask(asked, files []string, all map[string]*project) error {
	for i, a := range asked {
		clean := path.Clean(filepath.ToSlash(a))
		at := slices.IndexFunc(files, func(f string) bool { return f == clean || path.Dir(f) == clean })
		if at < 0 {
			return kit.Errorf("name a project file of the app, or its folder", "%s names %s, which has no project", settingProject, a)
		}
		if p := all[files[at]]; i == 0 {
			t.main = p
		} else {
			t.others = append(t.others, p)
		}
	}
	return nil
}

// candidates are the projects that make programs: of those that a solution names, where there is one.
func candidates(app string, files []string, all map[string]*project) (list []*project) {
	named := solutionProjects(app)
	for _, f := range files {
		if k := all[f].kind(); (len(named) == 0 || slices.Contains(named, f)) && k != library && k != helper {
			list = append(list, all[f])
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, f := range files { // one that is refused has its own words
		if _, err := all[f].framework(); err != nil && all[f].kind() != helper {
			return []*project{all[f]}
		}
	}
	return nil
}

// serverNames are what people call the project that serves, the likeliest first.
var serverNames = []string{"web", "server", "api", "app", "host", "webapp", "webapi", "site", "website", "mvc", "backend"}

// choose finds the app among the programs.
func (t *targets) choose(list []*project, procs []procfile.Process) error {
	if len(list) == 0 {
		return kit.Errorf("set <OutputType>Exe</OutputType>, or the SDK Microsoft.NET.Sdk.Web, in the one to start", "no project of the app makes a program: they are libraries, tests or tools")
	}
	for _, p := range procs {
		if p.Type != "web" {
			continue
		}
		if i := slices.IndexFunc(list, func(c *project) bool { return c.namedBy(p.Command) }); i >= 0 {
			t.main, t.why = list[i], "the Procfile starts it"
			return nil
		}
	}
	for _, narrower := range []struct {
		why string
		of  func([]*project) []*project
	}{
		{"", func(l []*project) []*project { return l }},
		{"the only web project", ofKind(web)},
		{"the web project that no other refers to", func(l []*project) []*project { return unreferenced(ofKind(web)(l)) }},
		{"its name", byName(ofKind(web))},
		{"the only site", func(l []*project) []*project {
			if len(ofKind(web)(l)) > 0 {
				return nil
			}
			return ofKind(site)(l)
		}},
		{"the only program that no other refers to", func(l []*project) []*project {
			if len(ofKind(web)(l)) > 0 {
				return nil
			}
			return unreferenced(l)
		}},
		{"its name", byName(func(l []*project) []*project { return l })},
	} {
		if found := narrower.of(list); len(found) == 1 {
			t.main, t.why = found[0], kit.Pick(len(list) > 1, narrower.why, "")
			return nil
		}
	}
	return several(list)
}

func several(list []*project) error {
	if webs := ofKind(web)(list); len(webs) > 1 {
		list = webs
	}
	var names []string
	for _, p := range list[:min(len(list), 8)] {
		names = append(names, p.path)
	}
	return kit.Errorf("name the one that serves in "+settingProject+", or start it in a Procfile (web: dotnet NAME.dll)", "several projects could be the app: %s", strings.Join(names, ", "))
}

func ofKind(k kind) func([]*project) []*project {
	return func(list []*project) (found []*project) {
		for _, p := range list {
			if p.kind() == k {
				found = append(found, p)
			}
		}
		return found
	}
}

// unreferenced are those that no other of them refers to.
func unreferenced(list []*project) (found []*project) {
	for _, p := range list {
		if !slices.ContainsFunc(list, func(o *project) bool { return o != p && slices.Contains(o.references, p.path) }) {
			found = append(found, p)
		}
	}
	return found
}

// byName takes the first of the names that one project has, as its whole name or after a dot: Shop.Web.
func byName(of func([]*project) []*project) func([]*project) []*project {
	return func(list []*project) []*project {
		for _, name := range serverNames {
			var found []*project
			for _, p := range of(list) {
				base := strings.ToLower(p.base())
				if base == name || strings.HasSuffix(base, "."+name) || strings.HasSuffix(base, "-"+name) {
					found = append(found, p)
				}
			}
			if len(found) > 0 {
				return found
			}
		}
		return nil
	}
}

// namedBy tells whether a command starts the project: by its program, its assembly, its file, or its folder behind --project.
func (p *project) namedBy(command string) bool {
	words := strings.Fields(command)
	for i, w := range words {
		w = strings.Trim(w, `"'`)
		base := path.Base(w)
		if base == p.assembly()+".dll" || w == p.path || base == p.assembly() && i > 0 && words[i-1] != "cd" && words[i-1] != "--project" || base == p.assembly() && i == 0 {
			return true
		}
		if i > 0 && (words[i-1] == "--project" || words[i-1] == "-p") && (path.Clean(w) == path.Dir(p.path) || path.Clean(w) == p.path) {
			return true
		}
	}
	return false
}

// addNamed adds the programs that other processes of the Procfile start.
func (t *targets) addNamed(files []string, all map[string]*project, procs []procfile.Process) {
	for _, f := range files {
		p := all[f]
		if k := p.kind(); p == t.main || slices.Contains(t.others, p) || k == library || k == site {
			continue
		}
		if slices.ContainsFunc(procs, func(proc procfile.Process) bool { return p.namedBy(proc.Command) }) {
			t.others = append(t.others, p)
		}
	}
}

// compiled are the projects that are published, and those that they refer to.
func (t *targets) compiled(all map[string]*project) (list []*project) {
	queue := append([]*project{t.main}, t.others...)
	for len(queue) > 0 {
		p := queue[0]
		if queue = queue[1:]; slices.Contains(list, p) {
			continue
		}
		list = append(list, p)
		for _, r := range p.references {
			if all[r] != nil {
				queue = append(queue, all[r])
			}
		}
	}
	return list
}
