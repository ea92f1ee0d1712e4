package kube

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Interest is a set of objects to be told about.
type Interest struct {
	Resource  schema.GroupVersionResource
	Namespace string
	Name      string // "" for all, or those of Selector
	Selector  string // of labels
}

// Watch sends on the channel it returns whenever one of these objects may have changed, and once at the start: the reader has to read
// the objects itself. Unread signals become one. A watch that breaks is opened again. It ends with ctx.
func (c *Client) Watch(ctx context.Context, what ...Interest) <-chan struct{} {
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, i := range what {
		go c.follow(ctx, i, poke)
	}
	return changed
}

func (c *Client) follow(ctx context.Context, i Interest, poke func()) {
	o := metav1.ListOptions{LabelSelector: i.Selector}
	if i.Name != "" {
		o.FieldSelector = "metadata.name=" + i.Name
	}
	for ctx.Err() == nil {
		w, err := c.Resource(i.Resource, i.Namespace).Watch(ctx, o)
		if err != nil {
			poke() // the reader meets the error itself, or finds that it went away
			pause(ctx, time.Second)
			continue
		}
		for range w.ResultChan() {
			poke()
		}
		w.Stop()
		poke() // something may have happened before the next one
		pause(ctx, 200*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
