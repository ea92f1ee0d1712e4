// Package resize is a function of the Functions Framework: it registers what takes CloudEvents.
package resize

import (
	"context"
	"fmt"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"github.com/cloudevents/sdk-go/v2/event"
)

func init() {
	functions.CloudEvent("Resize", resize)
}

// resize takes an event. An error has the event sent again.
func resize(_ context.Context, e event.Event) error {
	var picture struct{ Text string }
	if err := e.DataAs(&picture); err != nil {
		return fmt.Errorf("event %s: %w", e.ID(), err)
	}
	fmt.Printf("%s %s: %s\n", e.Type(), e.ID(), picture.Text)
	return nil
}
