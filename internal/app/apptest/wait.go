package apptest

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// Eventually waits until f is true, and fails the test where that takes longer than within. what says what f looks for.
func Eventually(t testing.TB, within time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not seen within %v: %s", within, what)
		}
	}
}

// Buffer may be read while it is written to.
type Buffer struct {
	mu sync.Mutex
	// mu guards the following.
	b bytes.Buffer
}

// Write adds to the buffer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
