package lambda

import (
	"net/http"
	"testing"
)

// The client chooses what is before the last entry, where a proxy appends.
func TestSource(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		forwarded  []string
	}{
		{"no proxy", "198.51.100.1", nil},
		{"one", "192.0.2.7", []string{"192.0.2.7"}},
		{"one that appends", "192.0.2.7", []string{"10.0.0.1, 192.0.2.7"}},
		{"one that appends a header", "192.0.2.7", []string{"10.0.0.1", "127.0.0.1,192.0.2.7 "}},
		{"an empty list", "198.51.100.1", []string{""}},
		{"an end that is empty", "198.51.100.1", []string{"10.0.0.1, "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: "198.51.100.1:5000", Header: http.Header{"X-Forwarded-For": tt.forwarded}}
			if got := source(r); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
