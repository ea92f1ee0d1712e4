package dataplane

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Maintenance stands in front of a host: requests wait for its end, or are answered with 503.
type Maintenance struct {
	app     string
	hold    time.Duration
	waiting atomic.Int64
	once    sync.Once
	ended   chan struct{}
}

// NewMaintenance returns a Maintenance of the app with this name. Requests wait up to hold; with 0 they do not.
func NewMaintenance(app string, hold time.Duration) *Maintenance {
	return &Maintenance{app: app, hold: hold, ended: make(chan struct{})}
}

// End lets the requests that wait look at the Plane's table again. Call it when that no longer has the Maintenance.
func (m *Maintenance) End() { m.once.Do(func() { close(m.ended) }) }

// retryAfter is when a client should come back, in seconds.
const retryAfter = "30"

// pass returns true when the maintenance has ended. Otherwise the request is answered.
func (m *Maintenance) pass(w http.ResponseWriter, q *http.Request) bool {
	if m.hold > 0 {
		if m.waiting.Add(1) <= queueDepth && m.wait(q) {
			m.waiting.Add(-1)
			return true
		}
		m.waiting.Add(-1)
	}
	w.Header().Set("Retry-After", retryAfter)
	sentence := "the app " + m.app + " is being maintained: try again in a moment"
	if isGRPC(q) || !wantsHTML(q) {
		refuse(w, q, http.StatusServiceUnavailable, sentence)
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintf(w, maintenancePage, m.app)
	return false
}

// maintenancePage is for people. %s is the app's name: letters, digits and dashes.
const maintenancePage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Maintenance</title>
<body style="font-family: sans-serif; margin: 15vh auto; max-width: 30em; padding: 0 1em"><h1>Back in a moment</h1><p>%s is being maintained. Please try again shortly.</p>
`

// wait returns true when the maintenance ends in time.
func (m *Maintenance) wait(q *http.Request) bool {
	timer := time.NewTimer(m.hold)
	defer timer.Stop()
	select {
	case <-m.ended:
		return true
	case <-timer.C:
	case <-q.Context().Done():
	}
	return false
}

// wantsHTML says whether a client is a browser, more or less: it names HTML among what it takes.
func wantsHTML(q *http.Request) bool {
	for _, v := range q.Header["Accept"] {
		if strings.Contains(v, "text/html") {
			return true
		}
	}
	return false
}
