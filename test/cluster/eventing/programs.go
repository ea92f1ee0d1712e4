//go:build programs

// Package eventing names the commands of Knative Eventing that a cluster runs, so that go.mod keeps the modules that they are built from. It is a
// module of its own: Eventing wants newer libraries of Kubernetes than the Kubernetes that the cluster runs.
package eventing

import (
	_ "knative.dev/eventing/cmd/broker/filter"
	_ "knative.dev/eventing/cmd/broker/ingress"
	_ "knative.dev/eventing/cmd/controller"
	_ "knative.dev/eventing/cmd/in_memory/channel_controller"
	_ "knative.dev/eventing/cmd/in_memory/channel_dispatcher"
	_ "knative.dev/eventing/cmd/mtchannel_broker"
	_ "knative.dev/eventing/cmd/mtping"
	_ "knative.dev/eventing/cmd/webhook"
)
