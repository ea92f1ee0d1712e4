package function

import (
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Python is the language. The buildpack says what makes an app a server, which other program it has, and which line starts a library.
func Python(server, program, starts func(app string) string) Language {
	return Language{
		Name: "python", Ext: []string{".py"}, Bare: []string{"handler.py", "lambda_function.py"},
		Usual: usualModules, Exports: pythonExports, Registered: pythonRegistered, Depends: pythonDepends, Server: server, Program: program, Starts: starts,
	}
}

func usualModules(_ string, c function.Contract) []string {
	switch c {
	case function.FunctionsFramework:
		return []string{"main.py", "function.py", "src/main.py", "app.py"}
	case function.Knative:
		return []string{"function/func.py", "func.py", "function/__init__.py", "src/func.py"}
	}
	return []string{"lambda_function.py", "app.py", "index.py", "main.py", "src/app.py", "src/lambda_function.py"}
}

// libraries are the packages of Python that call functions, by their names with any separator.
var libraries = map[function.Contract]*pattern.Pattern{
	function.FunctionsFramework: pattern.New(`(?mi)(?:^|["'])\s*functions[-_.]framework\b`),
	function.Knative:            pattern.New(`(?mi)(?:^|["'])\s*(?:func[-_.]python|parliament[-_.]functions)\b`),
	function.Lambda:             pattern.New(`(?mi)(?:^|["'])\s*awslambdaric\b`),
}

func pythonDepends(app string, c function.Contract) string {
	library := libraries[c]
	for _, f := range []string{"requirements.txt", "pyproject.toml", "Pipfile", "requirements.in"} {
		if library.MatchString(kit.Text(app, f)) {
			return f
		}
	}
	return ""
}

var (
	pythonDef    = pattern.New(`(?m)^((?:async )?def ([A-Za-z]\w*)\(([^)]*)\))`)
	pythonCall   = pattern.New(`(?m)^([a-z]\w*)\s*=\s*[\w.]+\([^\n]*`)
	pythonImport = pattern.New(`(?m)^from \S+ import ([^\n(]+)`)
	decorated    = pattern.New(`(?m)^@((?:\w+\.){0,3})(http|cloud_event|typed)\b[^\n]*\n(?:@[^\n]*\n)*(?:async )?def ([A-Za-z]\w*)\(`)
)

// pythonExports finds the functions of a module: what it defines, then what it makes by a call, then what it imports.
func pythonExports(app, file string) (all []Export) {
	text := kit.Text(app, file)
	for _, m := range pythonDef.FindAllStringSubmatch(text, 200) {
		all = append(all, Export{m[2], strings.Join(strings.Fields(m[1]), " "), pythonParams(m[3]), true})
	}
	for _, m := range pythonCall.FindAllStringSubmatch(text, 200) {
		if slices.Contains([]string{"handler", "handle", "lambda_handler", "main", "function"}, m[1]) {
			all = append(all, Export{Name: m[1], Line: shown(m[0])})
		}
	}
	for _, m := range pythonImport.FindAllStringSubmatch(text, 200) {
		for item := range strings.SplitSeq(m[1], ",") {
			words := strings.Fields(item)
			if len(words) > 0 && slices.Contains([]string{"handler", "handle", "lambda_handler", "new", "main", "function"}, words[len(words)-1]) {
				all = append(all, Export{Name: words[len(words)-1], Line: shown(m[0])})
			}
		}
	}
	return all
}

// pythonParams are the names of parameters that a call by position can give.
func pythonParams(list string) (names []string) {
	for _, p := range params(list) {
		p = strings.TrimSpace(p)
		if p == "*" || strings.HasPrefix(p, "**") {
			break
		}
		if p != "/" && p != "self" {
			names = append(names, p)
		}
	}
	return names
}

// pythonRegistered finds the functions that decorators give to the framework.
func pythonRegistered(app string) (all []Registration) {
	for _, file := range usualModules(app, function.FunctionsFramework) {
		text := kit.Text(app, file)
		if !strings.Contains(text, "functions_framework") {
			continue
		}
		for _, m := range decorated.FindAllStringSubmatch(text, 100) {
			signature := function.HTTP
			if m[2] == "cloud_event" {
				signature = function.CloudEvent
			}
			module := kit.Pick(strings.HasSuffix(m[1], "aio."), "aio.", "")
			all = append(all, Registration{m[3], signature, file, "@functions_framework." + module + m[2] + " def " + m[3], m[2] == "typed"})
		}
	}
	return all
}
