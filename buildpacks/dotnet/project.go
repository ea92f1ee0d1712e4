package dotnet

import (
	"encoding/xml"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// project is a project file, as far as it is read without the SDK: what conditions and imports make of it is MSBuild's to know.
type project struct {
	path       string // below the app: src/Shop/Shop.csproj
	sdk        string // in lower case: microsoft.net.sdk.web; "" for a project of .NET Framework's form
	properties map[string]string
	packages   []string // in lower case, as frameworks and references
	frameworks []string
	references []string // paths of projects below the app
	text       string
	single     bool // a program in one file
}

// extensions are those of project files.
var extensions = []string{".csproj", ".fsproj", ".vbproj"}

const (
	maxProjects = 500
	maxDepth    = 8
)

// skipped are folders that have no project of the app's.
var skipped = []string{"bin", "obj", "node_modules", "packages", "artifacts", "wwwroot", "TestResults"}

// findProjects lists the project files below the app, the nearest to its root first.
func findProjects(app string) (found []string, err error) {
	err = filepath.WalkDir(app, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(app, file)
		if err != nil {
			return err
		}
		depth := strings.Count(rel, "/")
		if d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skipped, d.Name()) || depth >= maxDepth) {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && slices.Contains(extensions, strings.ToLower(filepath.Ext(rel))) {
			found = append(found, rel)
		}
		if len(found) > maxProjects {
			return kit.Errorf("name one in BP_DOTNET_PROJECT_PATH", "the app has more than %d projects", maxProjects)
		}
		return nil
	})
	slices.SortStableFunc(found, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	return found, err
}

// maxProject bounds what is read of a project file.
const maxProject = 1 << 20

// readProject reads a project file, with the properties that Directory.Build.props gives it.
func readProject(app, file string) (*project, error) {
	p := &project{path: file, properties: map[string]string{}}
	for _, props := range outerFiles(app, "Directory.Build.props") { // above an app in a folder
		if err := p.readText(app, props, kit.Text(props)); err != nil {
			return nil, err
		}
	}
	for _, props := range directoryProps(app, file) {
		if err := p.read(app, props); err != nil {
			return nil, err
		}
	}
	p.sdk = ""
	if err := p.read(app, file); err != nil {
		return nil, err
	}
	return p, nil
}

// directoryProps are the files Directory.Build.props around a project, the outermost first.
func directoryProps(app, file string) (found []string) {
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if f := path.Join(dir, "Directory.Build.props"); kit.IsFile(app, f) {
			found = append([]string{f}, found...)
		}
		if dir == "." {
			return found
		}
	}
}

// outerFiles are those of a name in the folders above the app's, the outermost first: where the app is a folder of a repository, the SDK reads them.
func outerFiles(app, name string) (found []string) {
	for dir := filepath.Dir(filepath.Clean(app)); len(dir) > 1; dir = filepath.Dir(dir) {
		if f := filepath.Join(dir, name); kit.IsFile(f) {
			found = append([]string{f}, found...)
		}
	}
	return found
}

// read adds what a file of the app says.
func (p *project) read(app, file string) error { return p.readText(app, file, kit.Text(app, file)) }

// readText adds what a file says. A value under a condition counts where there is no other.
func (p *project) readText(app, file, text string) error {
	if len(text) > maxProject {
		return kit.Errorf("", "%s is longer than %d bytes", file, maxProject)
	}
	p.text += text + "\n"
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // the text is decoded already
	var names []string
	conditional, depth := false, 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return kit.Errorf("correct it: dotnet build says the same", "%s cannot be read: %s", file, kit.First(err.Error()))
		}
		switch t := token.(type) {
		case xml.StartElement:
			if names = append(names, t.Name.Local); len(names) > 100 {
				return kit.Errorf("", "%s cannot be read: its elements are nested too deeply", file)
			}
			if attribute(t, "Condition") != "" && !conditional {
				conditional, depth = true, len(names)
			}
			p.element(app, file, names, t)
		case xml.EndElement:
			if len(names) == depth {
				conditional, depth = false, 0
			}
			names = names[:max(0, len(names)-1)]
		case xml.CharData:
			if len(names) == 3 && names[1] == "PropertyGroup" {
				p.set(names[2], strings.TrimSpace(string(t)), conditional)
			}
		}
	}
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// element takes what the attributes of an element say.
func (p *project) element(app, file string, names []string, t xml.StartElement) {
	include := attribute(t, "Include")
	switch t.Name.Local {
	case "Project":
		p.addSDK(attribute(t, "Sdk"))
	case "Sdk":
		if len(names) == 2 {
			p.addSDK(attribute(t, "Name"))
		}
	case "Import":
		p.addSDK(attribute(t, "Sdk"))
	case "PackageReference":
		p.packages = append(p.packages, strings.ToLower(include))
	case "FrameworkReference":
		p.frameworks = append(p.frameworks, strings.ToLower(include))
	case "ProjectReference":
		rel := path.Join(path.Dir(file), strings.ReplaceAll(include, `\`, "/"))
		if include != "" && filepath.IsLocal(rel) && kit.IsFile(app, rel) {
			p.references = append(p.references, rel)
		}
	}
}

// addSDK takes the SDK that a project names: "Microsoft.NET.Sdk.Web", or with a version behind a slash. The one that says most counts.
func (p *project) addSDK(text string) {
	for s := range strings.SplitSeq(text, ";") {
		name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "/")
		if name != "" && (p.sdk == "" || len(name) > len(p.sdk)) {
			p.sdk = name
		}
	}
}

func (p *project) set(name, value string, conditional bool) {
	name = strings.ToLower(name)
	if value == "" || conditional && p.properties[name] != "" {
		return
	}
	p.properties[name] = value
}

var variable = pattern.New(`\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)`)

// property is a property's value, with the properties that it is made of; "" where it is not set. name is in lower case.
func (p *project) property(name string) string {
	value := p.properties[name]
	for range 5 {
		m := variable.FindStringSubmatch(value)
		if m == nil || len(value) > 4096 {
			break
		}
		other := p.properties[strings.ToLower(m[1])]
		if strings.EqualFold(m[1], "MSBuildProjectName") {
			other = p.base()
		}
		if len(other) > 256 { // no name, and each round would be longer than the last
			break
		}
		value = strings.ReplaceAll(value, m[0], other)
	}
	return strings.TrimSpace(value)
}

func (p *project) is(name string) bool { return strings.EqualFold(p.property(name), "true") }

// base is the file's name without its ending.
func (p *project) base() string { return strings.TrimSuffix(path.Base(p.path), path.Ext(p.path)) }

// assembly is the name of what the project makes: NAME.dll.
func (p *project) assembly() string {
	if name := p.property("assemblyname"); name != "" && !strings.Contains(name, "$(") {
		return name
	}
	return p.base()
}

// uses tells whether the project names a package that begins so.
func (p *project) uses(prefixes ...string) bool {
	return slices.ContainsFunc(p.packages, func(name string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
}

// kind is what a project makes.
type kind int

const (
	library kind = iota
	program      // a program that may do anything
	worker       // a program without a web server
	web          // a web server
	site         // a folder of files: Blazor that runs in the browser
	helper       // tests, tools and the like: nothing to deploy
)

// webPackages are those of servers that are not ASP.NET Core's own.
var webPackages = []string{"microsoft.aspnetcore.app", "microsoft.aspnetcore.all", "microsoft.aspnetcore.server.", "giraffe", "saturn", "suave", "falco", "embedio", "genhttp", "watson", "nancy", "servicestack", "wolverine.http", "oxpecker", "websharper.aspnetcore", "fastendpoints", "carter"}

// kind tells what the project makes.
func (p *project) kind() kind {
	output := strings.ToLower(p.property("outputtype"))
	switch {
	case p.is("istestproject"), p.uses("microsoft.net.test.sdk", "xunit", "nunit", "mstest", "tunit", "benchmarkdotnet"), p.is("packastool"), strings.HasPrefix(p.sdk, "aspire.apphost"), p.is("isaspirehost"),
		strings.HasPrefix(p.sdk, "mstest.sdk"), output == "module", p.is("ispackable") && output == "":
		return helper
	case p.sdk == "microsoft.net.sdk.blazorwebassembly":
		return site
	case strings.HasPrefix(p.sdk, "microsoft.net.sdk.web") && output != "library":
		return web
	case output != "exe" && output != "winexe" && p.sdk != "microsoft.net.sdk.worker":
		return library
	case slices.Contains(p.frameworks, "microsoft.aspnetcore.app"), p.uses(webPackages...):
		return web
	case p.sdk == "microsoft.net.sdk.worker", p.uses("microsoft.extensions.hosting", "discord.net", "dsharpplus", "netcord", "telegram.bot", "masstransit", "quartz", "hangfire"):
		return worker
	}
	return program
}
