package release

import "github.com/gitd-io/gitd/internal/app"

// transitions is the whole state machine of a release: what may follow what.
var transitions = map[app.State][]app.State{
	app.Received:  {app.Building, app.Starting, app.Failed, app.Stopped, app.Replaced}, // Starting at once: a rollback has its image
	app.Building:  {app.Built, app.Failed, app.Stopped, app.Replaced},
	app.Built:     {app.Releasing, app.Starting, app.Failed, app.Stopped, app.Replaced},
	app.Releasing: {app.Starting, app.Failed, app.Stopped, app.Replaced},
	app.Starting:  {app.Shifting, app.Ready, app.Failed, app.Stopped, app.Replaced},
	app.Shifting:  {app.Live, app.Failed, app.Stopped, app.Replaced},
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
	case app.Superseded:
		return app.Replaced
	case app.Cancelled, app.DryRun:
		return app.Stopped
	}
	return app.Failed
}
