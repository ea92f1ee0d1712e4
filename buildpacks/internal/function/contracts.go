package function

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// file is the file that has the function: the one that project.toml names, or the first of the usual ones. "" for none.
func (q *question) file(c function.Contract) string {
	for _, f := range q.files(c) {
		if kit.IsFile(q.app, f) {
			return f
		}
	}
	return ""
}

// files are those in which the function may be: the one that project.toml means, or the usual ones.
func (q *question) files(c function.Contract) []string {
	usual := slices.Concat(q.l.Usual(q.app, c), q.l.Bare)
	if q.s.Source == "" {
		return usual
	}
	if slices.Contains(q.l.Ext, path.Ext(q.s.Source)) {
		return []string{q.s.Source}
	}
	for i, f := range usual {
		usual[i] = filepath.Join(q.s.Source, f)
	}
	return usual
}

// few are the first of the files, for people.
func (q *question) few(c function.Contract) string {
	all := q.files(c)
	return strings.Join(all[:min(len(all), 4)], ", ")
}

// export finds what a file exports by one of the names, in their order.
func (q *question) export(file string, names ...string) (Export, bool) {
	all := q.l.Exports(q.app, file)
	for _, n := range names {
		if i := slices.IndexFunc(all, func(e Export) bool { return e.Name == n }); i >= 0 {
			return all[i], true
		}
	}
	return Export{}, false
}

// framework finds a function of the Functions Framework: the framework is a dependency, or project.toml names a target.
func (q *question) framework() (*Found, error) {
	if q.s.Handler != "" {
		return nil, nil
	}
	line := ""
	if q.l.Starts != nil {
		line = q.l.Starts(q.app)
	}
	if !strings.Contains(line, "functions-framework") && !strings.Contains(line, "functions_framework") {
		line = ""
	}
	evidence := ""
	switch dependency := q.l.Depends(q.app, function.FunctionsFramework); {
	case q.s.Target != "" && q.s.Contract != function.Knative:
		evidence = "[io.gitd.function] in project.toml"
	case line != "":
		evidence = "its start: " + line
	case dependency != "":
		evidence = "the framework in " + dependency
	case q.s.Contract == function.FunctionsFramework:
		evidence = "[io.gitd.function] in project.toml"
	default:
		return nil, nil
	}
	f := &Found{Spec: function.Spec{Contract: function.FunctionsFramework, Target: q.s.Target, Signature: q.s.Signature}, Evidence: evidence, Own: line}
	if line != "" {
		f.fromLine(line)
		if !q.said {
			f.Source = q.file(function.FunctionsFramework)
			f.Target, f.Signature = cmp.Or(f.Target, "function"), cmp.Or(f.Signature, function.HTTP)
			return f, nil
		}
		f.Own = "" // project.toml counts more
	}
	if q.s.Target != "" && line == "" && q.l.Depends(q.app, function.FunctionsFramework) == "" && !q.written() {
		return nil, nil // the function that project.toml names is of another language
	}
	return f, q.target(f)
}

// written tells whether the app has a file of the language where the function may be.
func (q *question) written() bool {
	dir := q.s.Source
	if slices.Contains(q.l.Ext, path.Ext(dir)) {
		return true
	}
	entries, _ := os.ReadDir(filepath.Join(q.app, dir)) // a folder that cannot be read has none
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return slices.Contains(q.l.Ext, path.Ext(e.Name())) }) ||
		slices.ContainsFunc(q.files(function.FunctionsFramework), func(f string) bool { return kit.IsFile(q.app, f) })
}

// fromLine takes over the options of a line that starts the framework.
func (f *Found) fromLine(line string) {
	words := strings.Fields(strings.ReplaceAll(line, "=", " "))
	for i, w := range words[:max(len(words)-1, 0)] {
		switch w {
		case "--target":
			f.Target = cmp.Or(f.Target, words[i+1])
		case "--signature-type":
			f.Signature = cmp.Or(f.Signature, function.Signature(words[i+1]))
		}
	}
}

// target finds the function's name, its signature and its file.
func (q *question) target(f *Found) error {
	var registered []Registration
	for _, r := range q.l.Registered(q.app) {
		if f.Target == "" || r.Target == f.Target {
			registered = append(registered, r)
		}
	}
	if f.Target == "" && len(registered) > 1 {
		if i := slices.IndexFunc(registered, func(r Registration) bool { return r.Target == "function" }); i >= 0 {
			registered = registered[i : i+1]
		} else {
			var all []string
			for _, r := range registered {
				all = append(all, r.Target)
			}
			return kit.Errorf("say which one it is: [io.gitd.function] target = \""+all[0]+"\"", "there are several functions: %s", strings.Join(all, ", "))
		}
	}
	if len(registered) > 0 {
		r := registered[0]
		if q.s.Signature != "" && r.Signature != q.s.Signature {
			return kit.Errorf("make signature = \""+string(r.Signature)+"\", or remove it", "[io.gitd.function] signature is %s, and %s registers %s as %s", q.s.Signature, r.File, r.Target, r.Signature)
		}
		f.Target, f.Signature, f.Source, f.Typed = r.Target, r.Signature, r.File, r.Typed
		f.Evidence += "; " + r.File + ": " + r.Line
		return nil
	}
	if f.Source = q.file(function.FunctionsFramework); f.Source == "" {
		return kit.Errorf("say which file has the function: [io.gitd.function] source", "there is no file with a function, though %s says that there is one: looked for %s", f.Evidence, q.few(function.FunctionsFramework))
	}
	all := q.l.Exports(q.app, f.Source)
	names := []string{f.Target}
	if f.Target == "" {
		names = []string{"function", "handler", "handle", "default", "main"}
		if len(all) == 1 {
			names = append(names, all[0].Name)
		}
	}
	e, ok := q.export(f.Source, names...)
	switch {
	case ok:
		f.Target = e.Name
		f.Evidence += "; " + f.Source + ": " + e.Line
	case f.Target == "" || len(all) > 0: // a file of which nothing is seen may make its exports as it runs
		return q.notExported(f.Source, cmp.Or(f.Target, "function"))
	}
	if f.Signature == "" {
		f.Signature = signatureOf(e)
	}
	if f.Signature != function.HTTP && len(e.Params) > 0 && slices.Contains([]string{"req", "request"}, e.Params[0]) {
		return kit.Errorf("have it take an event, or make signature = \"http\"", "%s: %s answers requests, which does not fit the signature %s", f.Source, e.Line, f.Signature)
	}
	return nil
}

// eventNames are the names of a parameter by which a function says that it takes a CloudEvent.
var eventNames = []string{"event", "cloudevent", "cloud_event", "cloudEvent", "ce", "evt"}

// signatureOf is what a function takes, by the names of its parameters: one that is called event takes a CloudEvent.
func signatureOf(e Export) function.Signature {
	if e.Known && len(e.Params) == 1 && slices.Contains(eventNames, e.Params[0]) {
		return function.CloudEvent
	}
	return function.HTTP
}

// takesContext tells whether a function is one of Lambda by its parameters: event and context, and for Node.js a callback.
func takesContext(e Export) bool {
	if !e.Known || len(e.Params) < 2 || len(e.Params) > 3 {
		return false
	}
	first, second := strings.TrimLeft(e.Params[0], "_"), strings.TrimLeft(e.Params[1], "_")
	return slices.Contains([]string{"event", "evt", "e"}, first) && slices.Contains([]string{"context", "ctx"}, second)
}

// knative finds a function of Knative: func.yaml says so, or what a usual file exports.
func (q *question) knative() (*Found, error) {
	if q.s.Handler != "" || q.s.Contract == "" && q.s.Target != "" {
		return nil, nil
	}
	y, err := readFuncYAML(q.app, q.said)
	if err != nil {
		return nil, err
	}
	line := ""
	if q.l.Starts != nil {
		line = q.l.Starts(q.app)
	}
	line = kit.Pick(strings.Contains(line, "faas-js-runtime"), line, "")
	library := q.l.Depends(q.app, function.Knative)
	chosen := q.s.Contract == function.Knative
	evidence := ""
	switch {
	case y != nil && y.isFor(q.l.Name):
		evidence = "func.yaml"
	case y != nil:
		return nil, nil
	case line != "":
		evidence = "its start: " + line
	case library != "":
		evidence = "the library in " + library
	case chosen:
		evidence = "[io.gitd.function] in project.toml"
	}
	f := &Found{Spec: function.Spec{Contract: function.Knative, Signature: q.s.Signature, Health: "/health/readiness"}}
	q.handle(f, evidence)
	switch {
	case f.Target != "":
	case line != "": // a build makes the file that it names
		f.Target, f.Evidence = "handle", evidence
	case evidence == "":
		return nil, nil
	case f.Source == "":
		return nil, kit.Errorf("put the function into one of "+q.few(function.Knative), "%s says that the app is a function, and there is no file with one", evidence)
	default:
		return nil, q.notExported(f.Source, "handle")
	}
	if y != nil {
		f.Env = y.env()
		f.Signature = cmp.Or(f.Signature, function.Signature(y.signature()))
	}
	f.Signature = cmp.Or(f.Signature, function.HTTP)
	return f, nil
}

// handle finds the function of Knative in the usual files: its name is enough where there is other evidence. Of a file without one it notes the name.
func (q *question) handle(f *Found, evidence string) {
	for _, file := range q.files(function.Knative) {
		if !kit.IsFile(q.app, file) {
			continue
		}
		e, ok := q.export(file, wanted(q.s.Target, "new", "New", "handle", "Handle")...)
		if !ok && evidence != "" {
			e, ok = q.export(file, wanted(q.s.Target, "main", "default")...)
		}
		if ok && (evidence != "" || knativeShape(e)) {
			f.Target, f.Source = e.Name, file
			f.Evidence = strings.TrimPrefix(evidence+"; "+file+": "+e.Line, "; ")
			return
		}
		f.Source = cmp.Or(f.Source, file)
	}
}

func wanted(target string, usual ...string) []string {
	if target != "" {
		return []string{target}
	}
	return usual
}

// knativeShape tells whether a function has the parameters of Knative's: without func.yaml its name alone says too little.
func knativeShape(e Export) bool {
	switch {
	case !e.Known:
		return false
	case e.Name == "new":
		return len(e.Params) == 0 && strings.HasPrefix(e.Line, "def ")
	case e.Name == "handle" && len(e.Params) == 3:
		return slices.Equal(e.Params, []string{"scope", "receive", "send"})
	case e.Name == "handle" && len(e.Params) >= 1:
		return strings.TrimLeft(e.Params[0], "_") == "context"
	}
	return false
}

// lambda finds a handler of AWS Lambda: project.toml or a template names it, or the runtime's own library is a dependency.
func (q *question) lambda() (*Found, error) {
	if q.s.Target != "" || q.s.Contract != "" && q.s.Contract != function.Lambda && q.said {
		return nil, nil
	}
	f := &Found{Spec: function.Spec{Contract: function.Lambda}}
	if q.s.Handler != "" {
		f.Evidence = "[io.gitd.function] in project.toml"
		return q.handler(f, q.s.Source, q.s.Handler)
	}
	t, err := readTemplate(q.app, q.said)
	if err != nil {
		return nil, err
	}
	if t != nil {
		if !t.isFor(q.l.Name) {
			return nil, nil
		}
		f.Evidence = t.file + ": " + t.name + ", Handler " + t.handler
		return q.handler(f, t.source, t.handler)
	}
	library := q.l.Depends(q.app, function.Lambda)
	if library == "" && q.s.Contract != function.Lambda {
		return nil, nil
	}
	f.Evidence = kit.Pick(library != "", "the runtime's library in "+library, "[io.gitd.function] in project.toml")
	for _, file := range q.files(function.Lambda) {
		if e, ok := q.export(file, "handler", "lambda_handler", "lambdaHandler"); ok {
			f.Source, f.Target = file, strings.TrimSuffix(file, path.Ext(file))+"."+e.Name
			f.Evidence += "; " + file + ": " + e.Line
			return f, nil
		}
	}
	if q.s.Contract == function.Lambda {
		return nil, kit.Errorf("say which it is: [io.gitd.function] handler = \"app.handler\"", "there is no file with a handler of AWS Lambda")
	}
	return nil, nil
}

// handler finds the file of a handler, which Lambda writes as MODULE.FUNCTION.
func (q *question) handler(f *Found, folder, handler string) (*Found, error) {
	i := strings.LastIndexByte(handler, '.')
	if i < 0 {
		return nil, nil // bootstrap, or the program of a compiled language
	}
	module, name := handler[:i], handler[i+1:]
	bases := []string{filepath.Join(folder, module)}
	if !strings.Contains(module, "/") {
		bases = append(bases, filepath.Join(folder, strings.ReplaceAll(module, ".", "/"))) // as Python writes it
	}
	for _, base := range bases {
		for _, ext := range q.l.Ext {
			if !kit.IsFile(q.app, base+ext) {
				continue
			}
			f.Source, f.Target = base+ext, base+"."+name
			all := q.l.Exports(q.app, base+ext)
			e, ok := q.export(base+ext, name)
			if !ok && len(all) > 0 {
				return nil, q.notExported(base+ext, name)
			}
			if ok && !strings.Contains(f.Evidence, e.Line) {
				f.Evidence += "; " + f.Source + ": " + e.Line
			}
			return f, nil
		}
	}
	return nil, nil
}
