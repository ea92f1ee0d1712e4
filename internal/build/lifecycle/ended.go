package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
)

// ErrTime is the cause of a context that ended at the time limit; Ended turns it into a sentence with the phase.
var ErrTime = errors.New("time limit of the build")

// Ended turns the error that a build ended with into what the caller wants to see: the cause where its own context ended,
// the limit where a limit ended it.
func Ended(caller, ctx context.Context, r build.Request, limits build.Limits, phase string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(caller); cause != nil {
		return fmt.Errorf("build of %s v%d stopped: %w", r.App, r.Version, cause)
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrTime) {
		return app.Errorf(app.CodeLimitExceeded, "make the build faster, or ask the operator for a higher time limit (gitd serve --build-time)",
			"the build was stopped at its time limit of %s, in the %s", limits.Time, phase)
	}
	var limit *app.Error
	if errors.As(cause, &limit) {
		return limit
	}
	return err
}
