// Package function is a function of Knative: Handle takes an event and answers with another.
package function

import (
	"context"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Handle answers an event with one that says that it was seen.
func Handle(_ context.Context, e event.Event) (*event.Event, error) {
	reply := event.New()
	reply.SetID(e.ID() + "-seen")
	reply.SetSource("/go-knative")
	reply.SetType("com.example.seen")
	return &reply, reply.SetData("application/json", e.Data())
}
