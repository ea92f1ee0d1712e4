package function

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// maxManifest bounds func.yaml and templates: a parser of YAML may need far more memory than the text has bytes.
const maxManifest = 256 << 10

// readYAML reads a file of the app; ok is false where it is not there.
func readYAML(app, file string, to any) (ok bool, err error) {
	data, err := kit.ReadFile(app, file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if len(data) > maxManifest {
		return false, kit.Errorf("make it smaller", "%s has more than %d KiB", file, maxManifest>>10)
	}
	if err := yaml.Unmarshal([]byte(kit.Decode(data)), to); err != nil {
		return false, kit.Errorf("correct it and push again", "%s: %s", file, strings.TrimPrefix(kit.Line(err), "yaml: "))
	}
	return true, nil
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

// readFuncYAML reads func.yaml; nil for none. One without a runtime is another program's.
func readFuncYAML(app string) (*funcYAML, error) {
	var y funcYAML
	ok, err := readYAML(app, "func.yaml", &y)
	if err != nil || !ok || y.Runtime == "" {
		return nil, err
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
	return map[string]string{"node": "nodejs", "nodejs": "nodejs", "typescript": "nodejs", "python": "python", "go": "go"}[y.Runtime] == language
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

// unresolved are the variables of func.yaml whose values are not plain.
func unresolved(app string) (names []string) {
	y, err := readFuncYAML(app)
	if err != nil || y == nil {
		return nil
	}
	for _, e := range append(y.Envs, y.Run.Envs...) {
		if strings.Contains(e.Value, "{{") {
			names = append(names, e.Name)
		}
	}
	return names
}

// template is the function of a SAM template.
type template struct {
	file, name, handler, runtime, source string
}

// templateFiles are the names of a SAM template.
var templateFiles = []string{"template.yaml", "template.yml", "sam.yaml", "sam.yml"}

// readTemplate reads the SAM template of the app; nil for none, and for one that has no function or several.
func readTemplate(app string) (*template, error) {
	for _, file := range templateFiles {
		var root yaml.Node
		ok, err := readYAML(app, file, &root)
		if err != nil {
			return nil, err
		}
		if !ok || len(root.Content) == 0 {
			continue
		}
		top := root.Content[0]
		global := child(child(child(top, "Globals"), "Function"), "")
		var found []template
		each(child(top, "Resources"), func(name string, r *yaml.Node) {
			if text(child(r, "Type")) != "AWS::Serverless::Function" {
				return
			}
			p := child(r, "Properties")
			get := func(key string) string { return cmp.Or(text(child(p, key)), text(child(global, key))) }
			found = append(found, template{file, name, get("Handler"), get("Runtime"), filepath.Clean(cmp.Or(get("CodeUri"), "."))})
		})
		if len(found) == 1 && filepath.IsLocal(found[0].source) {
			return &found[0], nil
		}
	}
	return nil, nil
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
