//go:build programs

package main

// What build.go builds, or takes manifests from, straight out of other modules: imported here so that go.mod keeps them.
import (
	_ "knative.dev/caching/config"
	_ "knative.dev/net-kourier/cmd/kourier"
	_ "knative.dev/net-kourier/config"
	_ "knative.dev/networking/config"
	_ "knative.dev/serving/cmd/activator"
	_ "knative.dev/serving/cmd/autoscaler"
	_ "knative.dev/serving/cmd/controller"
	_ "knative.dev/serving/cmd/queue"
	_ "knative.dev/serving/cmd/webhook"
	_ "knative.dev/serving/config/core"
)
