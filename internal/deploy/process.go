package deploy

import (
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
)

// ProcessDir is where an image has a launcher for each of its process types (Platform Interface Specification, "Launch").
const ProcessDir = "/cnb/process/"

// processType is what both platforms take: a name by the Buildpack Interface Specification ("launch.toml") that is also the value of a
// Kubernetes label.
var processType = pattern.New(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// CheckProcesses returns an *app.Error (InvalidInput) for the first name that is not one of a process type.
func CheckProcesses(types ...string) error {
	for _, t := range types {
		if !processType.MatchString(t) {
			return app.Errorf(app.CodeInvalidInput, "use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends", "%q is not a valid process type", t)
		}
	}
	return nil
}
