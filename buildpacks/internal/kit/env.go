package kit

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/shlex"
)

// Env is the environment of the tools that a buildpack runs. Buildpacks get none of the build image's environment, only
// what the lifecycle and the platform hand in: certificates, proxies, mirrors and the app's build settings.
type Env map[string]string

// NewEnv returns the process's environment with the platform's added.
func NewEnv(platform map[string]string) Env {
	e := Env{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			e[k] = v
		}
	}
	maps.Copy(e, platform)
	return e
}

// Default sets a variable that is not set yet.
func (e Env) Default(key, value string) {
	if e[key] == "" {
		e[key] = value
	}
}

// Prepend puts a folder at the front of PATH.
func (e Env) Prepend(dir string) {
	if p := e["PATH"]; p != "" {
		dir += ":" + p
	}
	e["PATH"] = dir
}

// Clone returns a copy.
func (e Env) Clone() Env { return maps.Clone(e) }

// List returns the variables as KEY=value, sorted.
func (e Env) List() []string {
	list := make([]string, 0, len(e))
	for k, v := range e {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// Bool tells whether a variable is switched on.
func (e Env) Bool(key string) bool {
	switch strings.ToLower(e[key]) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// ShellWords splits a variable as a shell does, with quotes. It returns an *Error for a quote without an end.
func (e Env) ShellWords(key string) ([]string, error) {
	words, err := shlex.Split(e[key])
	if err != nil {
		return nil, Errorf("write it as in a shell: -tags=a,b -ldflags='-X main.version=1'", "%s cannot be split into words: %v", key, err)
	}
	return words, nil
}

// Words splits a variable at spaces and commas.
func (e Env) Words(key string) []string {
	return strings.FieldsFunc(e[key], func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
}
