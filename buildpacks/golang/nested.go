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
)

// functionModule is the folder of the module that has the function, and the environment that says where the function is in it. A folder with a go.mod of its
// own is no part of the module around it: nothing that is made there could import the function.
func functionModule(app string, env kit.Env) (string, kit.Env) {
	s, err := functions.Settings(env)
	if err != nil || s == nil { // an error is told by who reads them next
		return app, env
	}
	folder := (&finder{s: *s}).folder()
	if !filepath.IsLocal(folder) {
		return app, env
	}
	in := moduleOf(app, folder)
	m, err := readModule(app)
	if in == "." || err != nil && !errors.Is(err, fs.ErrNotExist) || m.has(in) {
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
