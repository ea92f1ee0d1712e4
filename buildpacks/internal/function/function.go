// Package function tells which contract of a function an app fits, for the buildpacks of all languages: what is in its files, in an order of evidence,
// and what project.toml says. It runs nothing of the app.
package function

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// Found is a function of an app.
type Found struct {
	function.Spec
	Source   string            // the file that has it, or its folder where the contract is of a folder; relative to the app
	Evidence string            // what says so, in words: "handler.py: def handle(event)"
	Also     []Other           // contracts that the app fits as well
	Env      map[string]string // of func.yaml or a template: plain values
	Typed    bool              // it is registered as one that takes and returns a value
	Own      string            // the line by which the app starts the framework itself; "" where the buildpack starts it
}

// Other is a contract that was not taken.
type Other struct {
	Contract function.Contract
	Evidence string
}

// Export is a function that a file offers to others.
type Export struct {
	Name   string
	Line   string   // as it is written, for people: "def handle(event)"
	Params []string // their names; of some forms they are not known
	Known  bool     // Params are known
}

// Registration is a function that the code gives to the Functions Framework by itself.
type Registration struct {
	Target    string
	Signature function.Signature
	File      string
	Line      string
	Typed     bool // it takes and returns a value; its signature is HTTP
}

// Language is what the package asks of a language. Each function gets the folder of the app.
type Language struct {
	Name       string                                         // as in Spec.Language
	Ext        []string                                       // endings of source files: ".py"
	Bare       []string                                       // names of a file that is a function by itself
	Usual      func(app string, c function.Contract) []string // files in which functions of a contract usually are
	Exports    func(app, file string) []Export                // what a file offers
	Registered func(app string) []Registration                // with the Functions Framework
	Depends    func(app string, c function.Contract) string   // the file in which the library of a contract is a dependency: "" for none
	Server     func(app string) string                        // what makes the app a server: "" for nothing
	Program    func(app string) string                        // a program besides a bare function that would be started: "" for none
	Starts     func(app string) string                        // the line that starts a library of functions, of a start script or a Procfile; nil, or "" for none
}

// names of the contracts for people.
var names = map[function.Contract]string{function.FunctionsFramework: "Functions Framework", function.Knative: "Knative function", function.Lambda: "AWS Lambda"}

// Title is the contract's name for people.
func Title(c function.Contract) string { return names[c] }

// Settings reads what project.toml says; nil for nothing.
func Settings(env kit.Env) (*function.Settings, error) {
	text := env[catalog.FunctionVariable]
	if text == "" {
		return fromGoogle(env), nil
	}
	s := &function.Settings{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, kit.Errorf("correct [io.gitd.function] in project.toml", "the settings of the function cannot be read: %v", err)
	}
	return s, nil
}

// fromGoogle reads the variables by which Google's buildpacks are told of a function.
func fromGoogle(env kit.Env) *function.Settings {
	if env["GOOGLE_FUNCTION_TARGET"] == "" {
		return nil
	}
	return &function.Settings{Target: env["GOOGLE_FUNCTION_TARGET"], Source: env["GOOGLE_FUNCTION_SOURCE"], Signature: function.Signature(env["GOOGLE_FUNCTION_SIGNATURE_TYPE"])}
}

// Find finds the function of an app in one language; nil for an app that is none in it. An error is a *kit.Error: the settings name what is not there, or
// nothing says which of several functions is meant.
func Find(app string, env kit.Env, l Language) (*Found, error) {
	s, err := Settings(env)
	if err != nil {
		return nil, err
	}
	said := s != nil
	if !said {
		if l.Server(app) != "" {
			return nil, nil
		}
		s = &function.Settings{}
	}
	q := &question{app: app, l: l, s: *s, said: said}
	var found *Found
	var also []Other
	for _, c := range []struct {
		contract function.Contract
		fits     func() (*Found, error)
	}{{function.FunctionsFramework, q.framework}, {function.Knative, q.knative}, {function.Lambda, q.lambda}, {"", q.bare}} {
		f, err := c.fits()
		switch {
		case err != nil && (found == nil && (s.Contract == "" || s.Contract == c.contract)):
			return nil, err
		case err != nil || f == nil:
		case found == nil && (s.Contract == "" || s.Contract == f.Contract):
			found = f
		case c.contract != "" && (found == nil || f.Contract != found.Contract):
			also = append(also, Other{f.Contract, f.Evidence})
		}
	}
	if found == nil {
		if said {
			return q.missing()
		}
		return nil, nil
	}
	found.Also = also
	return found, q.settle(found)
}

// question is one app that is asked about.
type question struct {
	app  string
	l    Language
	s    function.Settings
	said bool // project.toml has a table for the function
}

// settle applies what is the same for all contracts.
func (q *question) settle(f *Found) error {
	f.Language = q.l.Name
	f.Concurrency = q.s.Concurrency
	if f.Contract == function.FunctionsFramework && f.Health == "" && q.l.Name != "go" {
		f.Health = "/robots.txt" // which the framework answers by itself
	}
	if f.Contract == function.Lambda {
		if q.s.Concurrency > 1 {
			return kit.Errorf("remove concurrency from [io.gitd.function]", "a handler of AWS Lambda takes one request at a time, and %s is one", f.Source)
		}
		f.Concurrency, f.Health = 1, LambdaHealth
		var err error
		if f.Signature, err = LambdaSignature(q.s.Signature); err != nil {
			return err
		}
		if t, err := readTemplate(q.app, false); err == nil && t != nil {
			f.Env = t.env
		}
		return q.runs(f)
	}
	return nil
}

// missing is the answer where project.toml speaks of a function and the language has none that fits: an error where a file that it names is there.
func (q *question) missing() (*Found, error) {
	file := q.file(q.s.Contract)
	if file == "" {
		return nil, nil
	}
	want := q.s.Target
	if q.s.Handler != "" {
		want = q.s.Handler
	}
	if want == "" {
		return nil, kit.Errorf("say which function it is: [io.gitd.function] target", "%s has no function that fits", file)
	}
	return nil, q.notExported(file, want)
}

// notExported is the error of a function that is not there.
func (q *question) notExported(file, name string) error {
	exports := exportNames(q.l.Exports(q.app, file))
	if len(exports) == 0 {
		return kit.Errorf("export the function, or say which one it is: [io.gitd.function] in project.toml", "%s exports no function %s, and none at all", file, name)
	}
	return kit.Errorf("say which one it is: [io.gitd.function] in project.toml", "%s exports no function %s; it exports %s", file, name, strings.Join(exports, ", "))
}

func exportNames(all []Export) (names []string) {
	for _, e := range all {
		if !slices.Contains(names, e.Name) && len(names) < 20 {
			names = append(names, e.Name)
		}
	}
	return names
}

// Label is what the image says of the function.
func (f *Found) Label() (libcnb.Label, error) {
	text, err := f.Text()
	return libcnb.Label{Key: function.Label, Value: text}, err
}

// Tell says in the log of a build which contract it is, how another is chosen, and which variables of func.yaml have no plain value.
func (f *Found) Tell(out io.Writer, app string) {
	what := names[f.Contract]
	if f.Signature != "" {
		what += ", " + string(f.Signature)
	}
	kit.Say(out, "Function %s (%s), by %s", f.Target, what, f.Evidence)
	for _, o := range f.Also {
		kit.Say(out, "It also fits %s, by %s; to choose that: [io.gitd.function] contract = %q in project.toml", names[o.Contract], o.Evidence, o.Contract)
	}
	file, unset := f.unresolved(app)
	for _, name := range unset {
		kit.Say(out, "Warning: %s takes %s from what is not in the repository: set it by config set", file, name)
	}
}
