package release

import "github.com/gitd-io/gitd/internal/app"

// transitions is the whole state machine of a release: what may follow what.
var transitions = map[app.State][]app.State{
	app.StateReceived:  {app.StateBuilding, app.StateStarting, app.StateFailed, app.StateCancelled, app.StateSuperseded}, // Starting at once: a rollback and a promotion have their image
	app.StateBuilding:  {app.StateBuilt, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateBuilt:     {app.StateReleasing, app.StateStarting, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateReleasing: {app.StateStarting, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateStarting:  {app.StateShifting, app.StateReady, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateShifting:  {app.StateLive, app.StateFailed, app.StateCancelled, app.StateSuperseded},
}

// follows says whether a release in state from may go to state to.
func follows(from, to app.State) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// ending is the final state for a failure with this code.
func ending(c app.Code) app.State {
	switch c {
	case app.CodeSuperseded:
		return app.StateSuperseded
	case app.CodeCancelled, app.CodeDryRun:
		return app.StateCancelled
	}
	return app.StateFailed
}
