package procfile

import (
	"fmt"
	"io"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Buildpack takes process types from a Procfile. They win over those that the buildpacks before it suggest.
type Buildpack struct {
	Check  func(app string, env kit.Env) error // finds files that a language buildpack would fail on; may be nil
	Lambda string                              // gitd-lambda in the build image
	Out    io.Writer
}

// Detect implements libcnb.Detector. A malformed Procfile passes and fails the build: the buildpack is optional in most
// groups, where the lifecycle would take an error for "go on without".
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	if !kit.Exists(ctx.Application.Path, Name) {
		f, err := bootstrap(ctx.Application.Path, kit.NewEnv(ctx.Platform.Environment))
		if err != nil {
			return libcnb.DetectResult{}, err
		}
		if f != nil {
			return kit.Detected(b.Out, "AWS Lambda (%s)", f.Evidence), nil
		}
		if name := script(ctx.Application.Path); name != "" {
			return kit.Detected(b.Out, "Shell (%s)", name), nil
		}
		for _, hint := range kit.Nearest(ctx.Application.Path) {
			kit.Say(b.Out, "gitd-nearest: %s", hint)
		}
		return kit.LookedFor(b.Out, "Procfile"), nil
	}
	// Alone it would deploy an app as plain files because its go.mod or package.json cannot be read.
	if b.Check != nil {
		if err := b.Check(ctx.Application.Path, kit.NewEnv(ctx.Platform.Environment)); err != nil {
			return libcnb.DetectResult{}, err
		}
	}
	procs, err := Read(ctx.Application.Path)
	if err != nil {
		return kit.Detected(b.Out, "Procfile (with an error)"), nil
	}
	if dir := startsIn(ctx.Application.Path, procs); dir != "" {
		return libcnb.DetectResult{}, kit.Errorf("name the folder in project.toml: [io.gitd.build] app-dir = \""+dir+"\"", "web of the Procfile goes to %s/, and the app's files are there, not at the root: nothing builds them", dir)
	}
	var types []string
	for _, p := range procs {
		types = append(types, p.Type)
	}
	return kit.Detected(b.Out, "Procfile (%s)", strings.Join(types, ", ")), nil
}

// Build implements libcnb.Builder.
func (b Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	procs, err := Read(ctx.Application.Path)
	if err != nil {
		return result, err
	}
	if !kit.Exists(ctx.Application.Path, Name) {
		f, err := bootstrap(ctx.Application.Path, kit.NewEnv(ctx.Platform.Environment))
		if err != nil {
			return result, err
		}
		if f != nil {
			return b.serveBootstrap(ctx, f)
		}
	}
	if name := script(ctx.Application.Path); len(procs) == 0 && name != "" {
		procs = []Process{{Type: "web", Command: "bash " + name}}
		if err := checkScript(ctx.Application.Path, name); err != nil {
			return result, err
		}
	}
	for _, p := range procs {
		fmt.Fprintf(b.Out, "Process %s: %s\n", p.Type, p.Command)
		if err := checkProgram(ctx.Application.Path, p.Command); err != nil {
			return result, err
		}
		proc := Start(p.Type, p.Command)
		proc.Default = p.Type == "web"
		result.Processes = append(result.Processes, proc)
	}
	return result, nil
}

// Start makes a process of a command line. One that needs no shell is started directly; others by bash, which is replaced by
// the command where there is only one, so that signals reach it.
func Start(kind, command string) libcnb.Process {
	if words, ok := plainWords(command); ok {
		return libcnb.Process{Type: kind, Command: words[0], Arguments: words[1:], Direct: true}
	}
	return libcnb.Process{Type: kind, Command: "bash", Arguments: []string{"-c", ShellLine(command)}, Direct: true}
}

// ShellLine puts exec before a single command. bash would do the same by itself for most, but not for those with redirections
// in some places; what has operators or assignments is left as it is.
func ShellLine(command string) string {
	if strings.ContainsAny(command, ";&|()<>`\n") || strings.Contains(command, "$(") {
		return command
	}
	first, _, _ := strings.Cut(command, " ")
	if strings.ContainsAny(first, "='\"$*?[{~!") {
		return command
	}
	switch first {
	case "exec", "cd", "export", "source", ".", "eval", "if", "for", "while", "until", "case", "set", "ulimit", "umask", "test", "[", "[[",
		"time", "trap", "unset", "select", "function", "command", "builtin", "wait", "true", "false", ":", "shopt", "alias", "declare", "local", "read":
		return command
	}
	return "exec " + command
}

// plainWords splits a command line of plain words and quoted strings. It returns false for anything that a shell would expand.
func plainWords(command string) ([]string, bool) {
	var words []string
	var word strings.Builder
	in, quote := false, rune(0)
	for _, r := range command {
		switch {
		case quote == '\'' && r != '\'':
			word.WriteRune(r)
		case quote != 0 && r == quote:
			quote = 0
		case strings.ContainsRune("$`\\", r):
			return nil, false
		case quote == '"':
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		case strings.ContainsRune(";&|<>()*?[]{}~#!\n", r):
			return nil, false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		return nil, false
	}
	if in {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" || strings.Contains(words[0], "=") {
		return nil, false
	}
	// What only the shell knows cannot be started without it.
	switch words[0] {
	case "exec", "cd", "export", "source", ".", "eval", "if", "for", "while", "until", "case", "set", "ulimit", "umask", "time", "trap", "unset",
		"command", "builtin", "wait", ":", "read":
		return nil, false
	}
	return words, true
}
