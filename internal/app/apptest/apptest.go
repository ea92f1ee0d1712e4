// Package apptest is what tests of several packages need of errors and logs.
package apptest

import (
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// WantError checks an error's code, that it says what to do next, and that its message, of one line, has the words.
func WantError(t testing.TB, err error, code app.Code, words ...string) {
	t.Helper()
	if app.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want %s", err, app.CodeOf(err), code)
	}
	message, next := app.Explain(err)
	if next == "" || strings.ContainsRune(message, '\n') {
		t.Errorf("message %q, next %q", message, next)
	}
	for _, w := range words {
		if !strings.Contains(message, w) {
			t.Errorf("%q lacks %q", message, w)
		}
	}
}

// Logger writes to the test's log for as long as the test runs.
func Logger(t testing.TB) func(format string, args ...any) {
	var mu sync.Mutex
	ended := false
	t.Cleanup(func() {
		mu.Lock()
		ended = true
		mu.Unlock()
	})
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			t.Logf(format, args...)
		}
	}
}
