package pack

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/gitd-io/gitd/internal/app"
)

// errStopped ends work that is no longer waited for.
var errStopped = errors.New("stopped")

// ErrIncomplete is the cause of an error about objects that are neither in the pack nor in the repository.
var ErrIncomplete = errors.New("objects are missing")

// damaged says that a pack is not a sound pack.
func damaged(format string, args ...any) error {
	return app.Errorf(app.CodeInvalidInput, "check your repository with git fsck, and push again", "the pack is damaged: "+format, args...)
}

// incomplete says that a pack does not bring all that it needs.
func incomplete(format string, args ...any) error {
	return app.Wrap(ErrIncomplete, app.CodeInvalidInput, "check your repository with git fsck, and push again from a full clone", "the push is incomplete: "+format, args...)
}

// tooMuch says that a pack is over a limit.
func tooMuch(next, format string, args ...any) error {
	return app.Errorf(app.CodeLimitExceeded, next, format, args...)
}

// unsound says that an object is not as it should be.
func unsound(id ID, problem error) error {
	return app.Wrap(problem, app.CodeInvalidInput, fmt.Sprintf("see: git fsck --strict, and git show %.12s", id), "object %.12s is not sound: %s", id, app.Plain(problem.Error()))
}

// guard runs f, and turns a panic into an error: a mapped file that cannot be read, or a defect here, must not take the
// server down.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}
