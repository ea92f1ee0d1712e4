package release

import "github.com/gitd-io/gitd/internal/app"

// transitions is the state machine of a release: the states that may follow each state.
var transitions = map[app.State][]app.State{
	app.StateReceived:  {app.StateBuilding, app.StateReleasing, app.StateStarting, app.StateFailed, app.StateCancelled, app.StateSuperseded}, // Releasing, Starting: a change has its image
	app.StateBuilding:  {app.StateBuilt, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateBuilt:     {app.StateReleasing, app.StateStarting, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateReleasing: {app.StateReleasing, app.StateStarting, app.StateFailed, app.StateCancelled, app.StateSuperseded},
	app.StateStarting:  {app.StateStarting, app.StateShifting, app.StateReady, app.StateFailed, app.StateCancelled, app.StateSuperseded}, // Starting: again, on another port
	app.StateShifting:  {app.StateLive, app.StateFailed, app.StateCancelled, app.StateSuperseded},
}

// follows reports whether a release in state from may go to state to.
func follows(from, to app.State) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// ending returns the final state for a failure with this code.
func ending(c app.Code) app.State {
	switch c {
	case app.CodeSuperseded:
		return app.StateSuperseded
	case app.CodeCancelled, app.CodeDryRun:
		return app.StateCancelled
	}
	return app.StateFailed
}
