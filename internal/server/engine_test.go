package server

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// The engine is the platform's own unless another one is named that builds for the platform.
func TestChooseEngine(t *testing.T) {
	for _, tt := range []struct {
		platform     config.Platform
		name, engine string // engine "": refused
		next         string
	}{
		{config.Local, "", "sandbox", ""},
		{config.Knative, "", "cluster", ""},
		{"", "", "sandbox", ""},
		{config.Local, "sandbox", "sandbox", ""},
		{config.Local, "cluster", "", "use sandbox, or leave --build-engine out"},
		{config.Knative, "sandbox", "", "use cluster, or leave --build-engine out"},
		{config.Local, "docker", "", "use sandbox, or leave --build-engine out"},
	} {
		var o Options
		o.Config.Server.Platform, o.Config.Builds.Engine = tt.platform, tt.name
		e, err := o.chooseEngine()
		if tt.engine != "" && (err != nil || e.name != tt.engine) {
			t.Errorf("%q on %q: %q, %v", tt.name, tt.platform, e.name, err)
		}
		if _, next := app.Explain(err); tt.engine == "" && (app.CodeOf(err) != app.CodeInvalidInput || next != tt.next || !strings.Contains(err.Error(), tt.name)) {
			t.Errorf("%q on %q: %v / %s", tt.name, tt.platform, err, next)
		}
	}
}

// The user IDs that the configuration has as a default are those of the sandbox.
func TestDefaultUIDs(t *testing.T) {
	if got := sandbox.UIDs(config.Default().Machine.UIDs); got != sandbox.DefaultUIDs {
		t.Errorf("%v, and %v", got, sandbox.DefaultUIDs)
	}
}

// A data directory of a cluster, as every earlier version left it, is understood.
func TestRemembered(t *testing.T) {
	c := config.Default()
	c.Server.Platform, c.Cluster.Namespace, c.Registry.Pull, c.Builds.Engine = config.Knative, "apps", "10.0.0.5:5000", "cluster"
	o := offlineOptions("/data", remember(&c), nil)
	if got := o.Config; got.Cluster != c.Cluster || got.Registry != c.Registry || got.Builds.Engine != "cluster" || got.Server.Platform != config.Knative {
		t.Errorf("%+v", got)
	}
}
