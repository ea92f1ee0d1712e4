package golang

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// functionModule is the folder of the module that has the function, and the environment that says where the function is in it. A folder with a go.mod of its
// own is no part of the module around it: nothing that is made there could import the function.
func functionModule(app string, env kit.Env) (string, kit.Env) {
	s, err := functions.Settings(env)
	if err != nil { // who reads them next tells it
		return app, env
	}
	if s == nil {
		t, err := functions.ReadTemplate(app, language, false)
		if err != nil || t == nil || procfile.HasWeb(app) {
			return app, env
		}
		if in := moduleOf(app, path.Clean(t.Source)); nested(app, in) { // the function is a program there, which says by itself what it is
			app = filepath.Join(app, filepath.FromSlash(in))
		}
		return app, env
	}
	folder := (&finder{s: *s}).folder()
	if !filepath.IsLocal(folder) {
		return app, env
	}
	in := moduleOf(app, folder)
	if !nested(app, in) {
		return app, env
	}
	s.Source = path.Clean(strings.TrimPrefix(strings.TrimPrefix(path.Clean(s.Source), in), "/"))
	text, err := json.Marshal(s)
	if err != nil {
		return app, env
	}
	env = maps.Clone(env)
	env[catalog.FunctionVariable] = string(text)
	return filepath.Join(app, filepath.FromSlash(in)), env
}

// nested tells whether the module in a folder is no part of what is built at the root.
func nested(app, in string) bool {
	m, err := readModule(app)
	return in != "." && (err == nil || errors.Is(err, fs.ErrNotExist)) && !m.has(in)
}
