package function

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/pattern"
)

// FrameworkPackage and its kin are the packages of the registry of Node.js that call functions.
const (
	FrameworkPackage = "@google-cloud/functions-framework"
	KnativePackage   = "faas-js-runtime"
	LambdaPackage    = "aws-lambda-ric"
)

// NodeJS is JavaScript and TypeScript. The buildpack says what makes an app a server, which other program it has, and which line starts a library.
func NodeJS(server, program, starts func(app string) string) Language {
	return Language{
		Name: "nodejs", Ext: scripts, Bare: withEndings("handler"),
		Usual: usualScripts, Exports: scriptExports, Registered: scriptRegistered, Depends: scriptDepends, Server: server, Program: program, Starts: starts,
	}
}

var scripts = []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}

func withEndings(names ...string) (files []string) {
	for _, n := range names {
		for _, e := range scripts {
			files = append(files, n+e)
		}
	}
	return files
}

// packageJSON is what of package.json says where a function is.
type packageJSON struct {
	Main    string            `json:"main"`
	Deps    map[string]string `json:"dependencies"`
	DevDeps map[string]string `json:"devDependencies"`
}

func readPackage(app string) (p packageJSON) {
	_ = json.Unmarshal([]byte(kit.Text(app, "package.json")), &p) // a malformed one fails in the buildpack
	return p
}

func usualScripts(app string, c function.Contract) []string {
	var files []string
	if main := readPackage(app).Main; main != "" && filepath.IsLocal(main) {
		files = append(files, filepath.Clean(main))
	}
	switch c {
	case function.FunctionsFramework:
		return slices.Concat(files, withEndings("index", "function", "app", "src/index", "src/function"))
	case function.Knative:
		return slices.Concat(files, withEndings("index", "function", "src/index", "src/function"))
	}
	return slices.Concat(files, withEndings("index", "app", "src/index", "src/app"))
}

func scriptDepends(app string, c function.Contract) string {
	name := map[function.Contract]string{function.FunctionsFramework: FrameworkPackage, function.Knative: KnativePackage, function.Lambda: LambdaPackage}[c]
	if p := readPackage(app); p.Deps[name] != "" || p.DevDeps[name] != "" {
		return "package.json"
	}
	return ""
}

var (
	assignedExport = pattern.New(`(?m)^[ \t]*(?:module\.)?exports\.([A-Za-z_$][\w$]*)\s*=\s*([^=\s][^\n]*)`)
	moduleExports  = pattern.New(`(?m)^[ \t]*module\.exports\s*=\s*(?:exports\s*=\s*)?([^=\s][^\n]*)`)
	exportFunction = pattern.New(`(?m)^[ \t]*export\s+(?:async\s+)?function\s*\*?\s*([A-Za-z_$][\w$]*)\s*(?:<[^>(]*>)?\(([^)]*)\)`)
	exportVariable = pattern.New(`(?m)^[ \t]*export\s+(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*(?::[^=\n]+)?=\s*([^=\s][^\n]*)`)
	exportDefault  = pattern.New(`(?m)^[ \t]*export\s+default\s+([^\n]+)`)
	exportList     = pattern.New(`(?m)^[ \t]*export\s*\{([^}]*)\}`)
	arguments      = pattern.New(`^(?:async\s*)?(?:function\s*\*?\s*[\w$]*\s*)?\(([^)]*)\)`)
	oneArgument    = pattern.New(`^(?:async\s+)?([A-Za-z_$][\w$]*)\s*=>`)
	nameAlone      = pattern.New(`^([A-Za-z_$][\w$]*)\s*;?\s*(?://.*)?$`)
	noFunction     = pattern.New("^(?:['\"`\\d\\[{]|class\\b|true\\b|false\\b|null\\b|undefined\\b|new\\b|require\\()")
)

// scriptExports finds what a file exports, of what is written in the usual ways.
func scriptExports(app, file string) (all []Export) {
	text := kit.Text(app, file)
	add := func(name, line, value string) {
		if noFunction.MatchString(value) {
			return
		}
		e := Export{Name: name, Line: shown(line)}
		e.Params, e.Known = paramsOf(value, text)
		all = append(all, e)
	}
	for _, m := range assignedExport.FindAllStringSubmatch(text, 200) {
		add(m[1], m[0], m[2])
	}
	for _, m := range exportFunction.FindAllStringSubmatch(text, 200) {
		all = append(all, Export{m[1], shown(m[0]), params(m[2]), true})
	}
	for _, m := range exportVariable.FindAllStringSubmatch(text, 200) {
		add(m[1], m[0], m[2])
	}
	for _, m := range exportDefault.FindAllStringSubmatch(text, 1) {
		add("default", m[0], m[1])
	}
	for _, m := range exportList.FindAllStringSubmatch(text, 50) {
		for item := range strings.SplitSeq(m[1], ",") {
			words := strings.Fields(item)
			if len(words) == 0 || words[0] == "type" {
				continue
			}
			add(words[len(words)-1], "export { "+strings.Join(words, " ")+" }", words[0])
		}
	}
	if m := moduleExports.FindStringSubmatch(text); m != nil {
		_, rest, _ := strings.Cut(text, m[0])
		if value := m[1] + rest; strings.HasPrefix(value, "{") {
			all = append(all, properties(value, text)...)
		} else {
			add("default", m[0], m[1])
		}
	}
	return all
}

// properties are the functions of the object that a module exports.
func properties(object, text string) (all []Export) {
	depth, begin := 0, 1
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '(', '[':
			depth++
		case '}', ')', ']':
			depth--
		}
		if depth > 1 || depth == 1 && object[i] != ',' {
			continue
		}
		item := strings.TrimSpace(object[begin:i])
		begin = i + 1
		if e, ok := property(item, text); ok {
			all = append(all, e)
		}
		if depth == 0 {
			break
		}
	}
	return all
}

var aProperty = pattern.New(`^(?:async\s+)?([A-Za-z_$][\w$]*)\s*(:\s*|\(|$)`)

func property(item, text string) (Export, bool) {
	for strings.HasPrefix(item, "//") || strings.HasPrefix(item, "/*") {
		mark := map[byte]string{'/': "\n", '*': "*/"}[item[1]]
		_, rest, _ := strings.Cut(item, mark)
		item = strings.TrimSpace(rest)
	}
	m := aProperty.FindStringSubmatch(item)
	if m == nil {
		return Export{}, false
	}
	value := m[1]
	switch {
	case strings.HasPrefix(m[2], ":"):
		value = strings.TrimSpace(item[len(m[0]):])
	case m[2] == "(":
		value = item[len(m[0])-1:]
	}
	if noFunction.MatchString(value) {
		return Export{}, false
	}
	e := Export{Name: m[1], Line: "module.exports = { " + shown(kit.First(item)) + " }"}
	if value == m[1] {
		e.Line = "module.exports = { " + m[1] + " }"
	}
	e.Params, e.Known = paramsOf(value, text)
	return e, true
}

// paramsOf are the parameters of the function that an expression is, or names.
func paramsOf(value, text string) ([]string, bool) {
	value = strings.TrimSpace(value)
	if m := oneArgument.FindStringSubmatch(value); m != nil {
		return []string{m[1]}, true
	}
	if m := arguments.FindStringSubmatch(value); m != nil {
		return params(m[1]), true
	}
	if m := nameAlone.FindStringSubmatch(value); m != nil {
		return declared(m[1], text)
	}
	return nil, false
}

// declared are the parameters of a function of that name in the file.
func declared(name, text string) ([]string, bool) {
	name = strings.ReplaceAll(name, "$", `\$`)
	if m := pattern.New(`(?m)^[ \t]*(?:export\s+)?(?:async\s+)?function\s*\*?\s*` + name + `\s*(?:<[^>(]*>)?\(([^)]*)\)`).FindStringSubmatch(text); m != nil {
		return params(m[1]), true
	}
	if m := pattern.New(`(?m)^[ \t]*(?:export\s+)?(?:const|let|var)\s+` + name + `\s*(?::[^=\n]+)?=\s*([^=\s][^\n]*)`).FindStringSubmatch(text); m != nil && !nameAlone.MatchString(m[1]) {
		return paramsOf(m[1], text)
	}
	return nil, false
}

// params are the names of a list of parameters, without types and defaults.
func params(list string) []string {
	var names []string
	depth, begin := 0, 0
	for i := 0; i <= len(list); i++ {
		if i < len(list) {
			switch list[i] {
			case '{', '[', '<', '(':
				depth++
			case '}', ']', '>', ')':
				depth--
			}
			if list[i] != ',' || depth > 0 {
				continue
			}
		}
		name := strings.TrimSpace(list[begin:i])
		begin = i + 1
		if at := strings.IndexAny(name, ":=?"); at > 0 && !strings.HasPrefix(name, "{") {
			name = strings.TrimSpace(name[:at])
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// shown is a line of code for people: without its body, on one line, not long.
func shown(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	for _, end := range []string{" {", "{", ";", " =>"} {
		if at := strings.LastIndex(line, end); at > 0 && at+len(end) == len(line) {
			line = strings.TrimSpace(line[:at])
		}
	}
	if at := strings.Index(line, " => "); at > 0 {
		line = line[:at]
	}
	if len(line) > 100 {
		line = strings.ToValidUTF8(line[:100], "") + "…"
	}
	return line
}

var registersScript = pattern.New(`(?m)^(?:[^/\n]|/[^/\n])*?\b(http|cloudEvent|typed)\(\s*['"]([\w.-]+)['"]`)

// scriptRegistered finds the functions that files give to the framework.
func scriptRegistered(app string) (all []Registration) {
	seen := map[string]bool{}
	for _, file := range usualScripts(app, function.FunctionsFramework) {
		text := kit.Text(app, file)
		if seen[file] || !strings.Contains(text, FrameworkPackage) {
			continue
		}
		seen[file] = true
		for _, m := range registersScript.FindAllStringSubmatch(text, 100) {
			signature := function.HTTP
			if m[1] == "cloudEvent" {
				signature = function.CloudEvent
			}
			all = append(all, Registration{m[2], signature, file, m[1] + "('" + m[2] + "', …)", m[1] == "typed"})
		}
	}
	return all
}
