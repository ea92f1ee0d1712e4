package build

import (
	"errors"
	"io/fs"

	"github.com/gitd-io/gitd/buildpacks/procfile/lines"
	"github.com/gitd-io/gitd/internal/app"
)

// procfile is the file's name.
const procfile = "Procfile"

// maxProcfile is far more than a Procfile needs, in bytes.
const maxProcfile = 64 << 10

// Declared returns the process types that the source declares in its Procfile, in their order there; none where it has no Procfile, or
// a malformed one, of which the buildpacks complain. A Procfile of more than 64 KiB is an error.
func Declared(source app.Source) ([]string, error) {
	text, err := source.ReadFile(procfile, maxProcfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	all, err := lines.Parse(text)
	if err != nil {
		return nil, nil
	}
	types := make([]string, len(all))
	for i, l := range all {
		types[i] = l.Type
	}
	return types, nil
}
