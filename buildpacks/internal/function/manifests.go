package function

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// maxManifest bounds func.yaml and templates: a parser of YAML may need far more memory than the text has bytes.
const maxManifest = 256 << 10

// readYAML reads a file of the app; nil where it is not there, and where it is empty. Other programs have files of these names too: one that cannot be
// read is an error only where project.toml has said that the app is a function.
func readYAML(app, file string, said bool) (*yaml.Node, error) {
	root, err := parseYAML(app, file)
	if err != nil && !said || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || len(root.Content) == 0 {
		return nil, err
	}
	return root.Content[0], nil
}

func parseYAML(app, file string) (root yaml.Node, err error) {
	data, err := kit.ReadFile(app, file)
	if err != nil {
		return root, err
	}
	if len(data) > maxManifest {
		return root, kit.Errorf("make it smaller", "%s has more than %d KiB", file, maxManifest>>10)
	}
	if err := yaml.Unmarshal([]byte(kit.Decode(data)), &root); err != nil {
		return root, kit.Errorf("correct it and push again", "%s: %s", file, strings.TrimPrefix(kit.Line(err), "yaml: "))
	}
	return root, nil
}

// funcYAML is func.yaml, as far as a build needs it.
type funcYAML struct {
	Runtime string `yaml:"runtime"`
	Invoke  string `yaml:"invoke"`
	Run     struct {
		Envs []struct {
			Name  string `yaml:"name"`
			Value string `yaml:"value"`
		} `yaml:"envs"`
	} `yaml:"run"`
	Envs []struct { // of older versions
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"envs"`
}

// runtimes are the languages by what func.yaml calls them.
var runtimes = map[string]string{"node": "nodejs", "nodejs": "nodejs", "typescript": "nodejs", "python": "python", "go": "go"}

// readFuncYAML reads func.yaml; nil for none. One whose runtime is of no language here is nil too: its other keys may be of any type then.
func readFuncYAML(app string, said bool) (*funcYAML, error) {
	root, err := readYAML(app, "func.yaml", said)
	if err != nil || runtimes[text(child(root, "runtime"))] == "" {
		return nil, err
	}
	var y funcYAML
	if err := root.Decode(&y); err != nil {
		what := err.Error()
		if types, ok := errors.AsType[*yaml.TypeError](err); ok && len(types.Errors) > 0 { // "… into struct {…" is not for people
			what, _, _ = strings.Cut(types.Errors[0], " into ")
		}
		return nil, kit.Errorf("correct it and push again", "func.yaml: %s", strings.TrimPrefix(kit.First(what), "yaml: "))
	}
	switch y.Invoke {
	case "", "http", "cloudevent", "cloudevents":
	default:
		return nil, kit.Errorf(`write "http" or "cloudevent"`, "func.yaml: invoke is %q", y.Invoke)
	}
	return &y, nil
}

// isFor tells whether the function is of a language.
func (y *funcYAML) isFor(language string) bool {
	return runtimes[y.Runtime] == language
}

// signature is what it takes; "" where it is not said.
func (y *funcYAML) signature() string {
	if strings.HasPrefix(y.Invoke, "cloudevent") {
		return string(function.CloudEvent)
	}
	return y.Invoke
}

// env are its variables with plain values: others come from what only a cluster has.
func (y *funcYAML) env() map[string]string {
	env := map[string]string{}
	for _, e := range append(y.Envs, y.Run.Envs...) {
		if e.Name != "" && !strings.Contains(e.Value, "{{") {
			env[e.Name] = e.Value
		}
	}
	return env
}

// unresolved are the variables whose values are not plain, and the file that has them.
func (f *Found) unresolved(app string) (file string, names []string) {
	if f.Contract == function.Lambda {
		t, err := readTemplate(app, false)
		if err != nil || t == nil {
			return "", nil
		}
		return t.file, t.unset
	}
	y, err := readFuncYAML(app, false)
	if err != nil || y == nil {
		return "", nil
	}
	for _, e := range append(y.Envs, y.Run.Envs...) {
		if strings.Contains(e.Value, "{{") {
			names = append(names, e.Name)
		}
	}
	return "func.yaml", names
}

// template is the function of a SAM template.
type template struct {
	file, name, handler, runtime, source string

	env   map[string]string // its variables with plain values
	unset []string          // those with others
}

// templateFiles are the names of a SAM template.
var templateFiles = []string{"template.yaml", "template.yml", "sam.yaml", "sam.yml"}

// readTemplate reads the SAM template of the app; nil for none, and for one that has no function or several.
func readTemplate(app string, said bool) (*template, error) {
	for _, file := range templateFiles {
		top, err := readYAML(app, file, said)
		if err != nil {
			return nil, err
		}
		global := child(child(child(top, "Globals"), "Function"), "")
		var found []template
		each(child(top, "Resources"), func(name string, r *yaml.Node) {
			if text(child(r, "Type")) != "AWS::Serverless::Function" {
				return
			}
			p := child(r, "Properties")
			get := func(key string) string { return cmp.Or(text(child(p, key)), text(child(global, key))) }
			t := template{file: file, name: name, handler: get("Handler"), runtime: get("Runtime"), source: filepath.Clean(cmp.Or(get("CodeUri"), "."))}
			t.variables(global)
			t.variables(p)
			found = append(found, t)
		})
		if len(found) == 1 && filepath.IsLocal(found[0].source) {
			return &found[0], nil
		}
	}
	return nil, nil
}

// variables adds those that the properties of a function have. What a stack or a store of secrets would put in is not known.
func (t *template) variables(properties *yaml.Node) {
	each(child(child(properties, "Environment"), "Variables"), func(name string, v *yaml.Node) {
		t.unset = slices.DeleteFunc(t.unset, func(n string) bool { return n == name })
		if v.Kind != yaml.ScalarNode || !strings.HasPrefix(v.Tag, "!!") || strings.Contains(v.Value, "{{") {
			t.unset = append(t.unset, name)
			return
		}
		if t.env == nil {
			t.env = map[string]string{}
		}
		t.env[name] = v.Value
	})
	for _, name := range t.unset {
		delete(t.env, name)
	}
}

// isFor tells whether the function is of a language.
func (t *template) isFor(language string) bool {
	for prefix, l := range map[string]string{"nodejs": "nodejs", "python": "python", "go": "go", "provided": "go"} {
		if strings.HasPrefix(t.runtime, prefix) {
			return l == language
		}
	}
	return t.runtime == ""
}

// child is the value of a key of a mapping; of "" the node itself. nil for none.
func child(n *yaml.Node, key string) (found *yaml.Node) {
	if key == "" {
		return n
	}
	each(n, func(name string, v *yaml.Node) {
		if name == key {
			found = v
		}
	})
	return found
}

// each calls see for what a mapping has.
func each(n *yaml.Node, see func(key string, value *yaml.Node)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		see(n.Content[i].Value, n.Content[i+1])
	}
}

// text is the value of a plain node; "" for one that a function of CloudFormation makes.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return ""
	}
	return n.Value
}
