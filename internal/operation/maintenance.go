package operation

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// MaintenanceOf says whether an app is being maintained.
type MaintenanceOf struct {
	App     string     `json:"app"`
	On      bool       `json:"on"`
	Hold    int        `json:"hold,omitempty"`    // seconds that a request waits for its end; 0: it is answered with 503 at once
	Release int        `json:"release,omitempty"` // the release whose command asks for it; 0: a person did
	By      string     `json:"by,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

func maintenanceOf(name string, m *deploy.Maintenance) MaintenanceOf {
	if m == nil {
		return MaintenanceOf{App: name}
	}
	return MaintenanceOf{App: name, On: true, Hold: int(m.Hold / time.Second), Release: m.Release, By: m.By, Since: &m.Since}
}

// MaxHold bounds Maintain.Hold.
const MaxHold = deploy.MaxHold

// Maintain asks for the maintenance of an app.
type Maintain struct {
	OfApp
	Hold time.Duration // 0: requests are answered with 503 at once
}

// Maintenance says whether an app is being maintained.
var Maintenance = Operation[OfApp, MaintenanceOf]{
	Declaration{Name: "maintenance", Args: "APP", Does: "Say whether clients get the maintenance page of an app, or turn it on and off", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (MaintenanceOf, error) {
		m, err := c.Machine.Maintenance(ctx, c.app)
		return maintenanceOf(c.app, m), err
	},
}

// MaintenanceOn has clients get a page of maintenance, or wait.
var MaintenanceOn = Operation[Maintain, MaintenanceOf]{
	Declaration{Name: "maintenance on", Args: "APP", Does: "Answer the app's clients with 503 and a page, or hold their requests for a while", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in Maintain) (MaintenanceOf, error) {
		m, err := c.Machine.SetMaintenance(ctx, c.by, c.app, true, in.Hold)
		return maintenanceOf(c.app, m), err
	},
}

// MaintenanceOff ends it.
var MaintenanceOff = Operation[OfApp, MaintenanceOf]{
	Declaration{Name: "maintenance off", Args: "APP", Does: "Let the app's clients reach it again", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (MaintenanceOf, error) {
		_, err := c.Machine.SetMaintenance(ctx, c.by, c.app, false, 0)
		return maintenanceOf(c.app, nil), err
	},
}
