package cache

import (
	"context"
	"errors"
	"testing"
)

// TestCancelled: nothing is made, and the cause comes through.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the client went away")
	c, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := c.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	cancel(cause)
	if _, err := c.Lock(ctx); !errors.Is(err, cause) {
		t.Errorf("waiting for the lock ended with %v, want %v", err, cause)
	}
}
