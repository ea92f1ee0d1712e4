package command

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
)

var versionForm = pattern.New(`^v?[1-9][0-9]{0,8}$`)

// parseVersion reads the version of a release: "v3", or "3".
func parseVersion(s string) (int, error) {
	if !versionForm.MatchString(s) {
		return 0, app.Errorf(app.CodeInvalidInput, "give one such as v3; gitd releases APP lists them", "%q is not a release", app.Clip(s, 60))
	}
	return strconv.Atoi(strings.TrimPrefix(s, "v"))
}

// versionValue is a flag that takes a version.
type versionValue int

func (v *versionValue) String() string {
	if *v == 0 {
		return ""
	}
	return "v" + strconv.Itoa(int(*v))
}

func (v *versionValue) Set(s string) error {
	n, err := parseVersion(s)
	*v = versionValue(n)
	return err
}

func (*versionValue) Type() string { return "version" }

// fileValue is a flag that names a file on the machine where the command is given; "-" is standard input.
type fileValue struct{ name string }

func (f *fileValue) String() string { return f.name }

func (f *fileValue) Set(s string) error {
	f.name = s
	return nil
}

func (*fileValue) Type() string { return "file" }

// Absolute is the file's name for a process with another working directory.
func (f *fileValue) Absolute() (string, error) {
	if f.name == "-" {
		return f.name, nil
	}
	return filepath.Abs(f.name)
}

// linesValue is a flag that takes a number of lines, from 1 to most. n is the default; 0 is all.
type linesValue struct {
	n    *int
	most int
}

func (l linesValue) String() string {
	if l.n == nil || *l.n == 0 {
		return ""
	}
	return strconv.Itoa(*l.n)
}

func (l linesValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > l.most {
		return app.Errorf(app.CodeInvalidInput, "give such a number, or leave -n out", "-n takes a number from 1 to %d, not %q", l.most, app.Clip(s, 30))
	}
	*l.n = n
	return nil
}

func (linesValue) Type() string { return "number" }
