// Package procfile is the Procfile buildpack: process types and their commands, written down by the app.
package procfile

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile/lines"
)

// Name is the file's name.
const Name = "Procfile"

// Process is one line of a Procfile.
type Process = lines.Process

// Read reads the app's Procfile. An app without one has no processes; a malformed one is a *kit.Error.
func Read(app string) ([]Process, error) {
	data, err := kit.ReadFile(app, Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return Parse(data)
}

// HasWeb tells whether a Procfile says how the web process starts. A malformed one, which fails in its own buildpack, does.
func HasWeb(app string) bool {
	procs, err := Read(app)
	return err != nil || slices.ContainsFunc(procs, func(p Process) bool { return p.Type == "web" })
}

// Runs tells whether a Procfile says what runs, beside a command of the release. A malformed one, which fails in its own buildpack, does.
func Runs(app string) bool {
	procs, err := Read(app)
	return err != nil || slices.ContainsFunc(procs, func(p Process) bool { return p.Type != "release" })
}

// Parse reads a Procfile: see lines.Parse. An error is a *kit.Error.
func Parse(data []byte) ([]Process, error) {
	procs, err := lines.Parse(data)
	if e, ok := errors.AsType[*lines.Error](err); ok {
		return nil, kit.Errorf(e.Next, "%s", e.Text)
	}
	return procs, err
}
