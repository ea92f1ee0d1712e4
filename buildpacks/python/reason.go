package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"errors"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

var (
	notFound       = pattern.New(`No matching distribution found for (\S+)`)
	requiresPython = pattern.New(`Requires-Python ([^;\s]+)`)
	needsPython    = pattern.New(`Package '([^']+)' requires a different Python: \S+ not in '([^']+)'`)
	missingHeader  = pattern.New(`fatal error: (\S+\.h): No such file or directory`)
	missingProgram = pattern.New(`(pg_config|mysql_config|pkg-config|cmake|rustc|cargo|gfortran|swig)(?:: (?:command )?not found| executable not found|.{0,40}(?:not found|is not installed|could not be found))`)
	failedWheel    = pattern.New(`Failed (?:building wheel|to build)(?: for| '?)? ?([A-Za-z0-9._-]+)`)
	hashMismatch   = pattern.New(`THESE PACKAGES DO NOT MATCH THE HASHES`)
	conflict       = pattern.New(`Cannot install (.+) because these package versions have conflicting dependencies`)
)

// instead names the packages that do without a system library.
var instead = map[string]string{"pg_config": "require psycopg2-binary instead of psycopg2, or psycopg[binary]", "libpq-fe.h": "require psycopg2-binary instead of psycopg2, or psycopg[binary]",
	"mysql_config": "require PyMySQL, or mysql-connector-python, instead of mysqlclient", "pkg-config": "require a version that has a wheel for this Python"}

// reason puts the cause of pip's failure, which is some lines above its last one, into the error.
func (b *build) reason(said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) {
		return err
	}
	which := ""
	if m := failedWheel.FindStringSubmatch(said); m != nil {
		which = m[1] + ": "
	}
	header, program := missingHeader.FindStringSubmatch(said), missingProgram.FindStringSubmatch(said)
	switch m := notFound.FindStringSubmatch(said); {
	case hashMismatch.MatchString(said):
		return kit.Errorf("update the hashes in the requirements", "%s: a package does not have the hash that the requirements give it", e.Message)
	case conflict.MatchString(said):
		return kit.Errorf("change the versions that the lines above name", "%s: the requirements contradict one another", e.Message)
	case needsPython.MatchString(said):
		m := needsPython.FindStringSubmatch(said)
		return kit.Errorf("require a version for Python "+minor(b.version), "%s: %s is for Python %s, and this is %s", e.Message, m[1], m[2], b.version)
	case m != nil && requiresPython.MatchString(said):
		want := requiresPython.FindAllStringSubmatch(said, -1)
		return kit.Errorf("require a version for Python "+minor(b.version), "%s: %s is for Python %s, and this is %s", e.Message, m[1], want[len(want)-1][1], b.version)
	case m != nil:
		return kit.Errorf("check its name and version", "%s: the package registry has no %s for Python %s", e.Message, m[1], minor(b.version))
	case header != nil:
		return kit.Errorf(library(header[1]), "%s: %sthe header %s is missing", e.Message, which, header[1])
	case program != nil:
		return kit.Errorf(library(program[1]), "%s: %sthe program %s is missing", e.Message, which, program[1])
	}
	return err
}

func library(missing string) string {
	if next, ok := instead[missing]; ok {
		return next
	}
	if slices.Contains([]string{"Python.h"}, missing) {
		return "the builder image may be broken"
	}
	return "require a version of the package that has a wheel, which needs no " + strings.TrimSuffix(missing, ".h")
}
