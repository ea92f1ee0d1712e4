package server

import (
	"context"

	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/release"
)

// runner runs the apps: this machine, or a cluster.
type runner interface {
	platform() deploy.Platform
	images() images
	// events are the brokers; nil where there are none.
	events() event.Platform
	// url returns where people reach an app.
	url(app string) string
	// takeRequests has requests of webhooks, and of who has a token of a broker, reach this server.
	takeRequests(ctx context.Context) error
	// webhookURL returns where the requests of a webhook of an app go; "" where that is not known.
	webhookURL(app, name string) string
	// own returns the name under which the platform serves an app; "" where it is not known.
	own(ctx context.Context, app string) string
	// serve has the apps' requests answered; it does nothing where they do not come through gitd.
	serve(l Listeners) error
	// leave ends that: requests under way are answered.
	leave(ctx context.Context, l Listeners)
	// warnings are what does not work where apps run, and what to do: for admins.
	warnings(ctx context.Context) ([]string, error)
	// entrance says where requests go, for people.
	entrance(l Listeners) string
}

// runners make the runner of each platform.
var runners = map[config.Platform]func(*Server, context.Context) (runner, error){
	config.Local:   (*Server).openMachine,
	config.Knative: (*Server).openCluster,
}

// images is the registry.
type images interface {
	release.Images
	release.Shelf
	// DeleteRepository removes all images of an app.
	DeleteRepository(repository string) error
}
