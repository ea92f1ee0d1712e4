package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/local"
)

// Of the section on events: who sends, how many of which size, and the targets.
const (
	eventClients   = 64
	eventBytes     = 1024
	eventsAccepted = 2000 // a second
	eventsTaken    = 1000 // a second, by a warm app
	eventAccept    = 0.05 // seconds, of 99 of 100
)

// natsFigures are what test/bench/nats prints.
type natsFigures struct {
	PerSecond float64 `json:"perSecond"`
	P50, P99  float64
	Delivered float64 `json:"delivered"`
}

// events measures the broker of one machine beside a NATS server that syncs each message, on the same disk, in turns.
func (b *bench) events() error {
	messages, rounds := 20000, 3
	if b.quick {
		messages, rounds = 3000, 1
	}
	nats := filepath.Join(b.dir, "nats")
	build := exec.CommandContext(b.ctx, "go", "build", "-o", nats, ".")
	build.Dir = filepath.Join(b.repo, "test/bench/nats")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the NATS server: %w\n%s", err, out)
	}
	var accepted, taken, p50, p99, peer, peer50, peer99, peerTaken samples
	for i := range rounds {
		out, err := exec.CommandContext(b.ctx, nats, filepath.Join(b.dir, fmt.Sprint("nats-data-", i)), fmt.Sprint(messages/2)).Output()
		if err != nil {
			return fmt.Errorf("NATS: %w", err)
		}
		var f natsFigures
		if err := json.Unmarshal(out, &f); err != nil {
			return err
		}
		peer, peer50, peer99, peerTaken = append(peer, f.PerSecond), append(peer50, f.P50), append(peer99, f.P99), append(peerTaken, f.Delivered)
		rate, took, err := b.acceptEvents(i, messages)
		if err != nil {
			return err
		}
		accepted, p50, p99 = append(accepted, rate), append(p50, took[len(took)/2]), append(p99, took[len(took)*99/100])
		if rate, err = b.deliverEvents(i, messages); err != nil {
			return err
		}
		taken = append(taken, rate)
	}
	r := &b.report
	r.title(fmt.Sprintf("Events of 1 KiB from %d clients, each on disk before it is accepted (peer: NATS JetStream, sync always)", eventClients))
	r.rows = append(r.rows,
		row{"accepted", perSecond(accepted), perSecond(peer), fmt.Sprintf("%.0f/s", accepted.median()), fmt.Sprintf("≥ %d/s", eventsAccepted), verdict(accepted.median() >= eventsAccepted)},
		row{"delivered to a warm app over HTTP (peer: consumed, in memory)", perSecond(taken), perSecond(peerTaken), fmt.Sprintf("%.0f/s", taken.median()), fmt.Sprintf("≥ %d/s", eventsTaken), verdict(taken.median() >= eventsTaken)},
		row{what: "until one is accepted", gitd: span(p50), peer: span(peer50)},
		row{"the slowest of a hundred", span(p99), span(peer99), seconds(p99.median()), "≤ " + seconds(eventAccept), verdict(p99.median() <= eventAccept)})
	return nil
}

func sampleEvent(n int64) event.Event {
	return event.Event{ID: fmt.Sprint(n), Source: "/bench", Type: "bench.sent", ContentType: "application/octet-stream", Data: make([]byte, eventBytes)}
}

// acceptEvents sends events that one trigger would take and whose app does not answer, so that accepting alone is measured.
func (b *bench) acceptEvents(i, messages int) (rate float64, took []float64, err error) {
	p, err := local.Open(b.ctx, local.Options{File: filepath.Join(b.dir, fmt.Sprintf("accept-%d.db", i)), Domain: "localhost", Proxy: http.NotFoundHandler()})
	if err != nil {
		return 0, nil, err
	}
	defer p.Close()
	if err := p.SetTriggers(b.ctx, event.Owner{App: "bench", ID: 1, Release: 1}, []event.Trigger{{Name: "all", Broker: event.DefaultBroker, Path: "/", Delivery: event.Defaults()}}); err != nil {
		return 0, nil, err
	}
	return sendEvents(b.ctx, p, messages)
}

// sendEvents sends events by all clients.
func sendEvents(ctx context.Context, p *local.Platform, messages int) (rate float64, took []float64, err error) {
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range eventClients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(messages); n = next.Add(1) {
				at := time.Now()
				_, e := p.Send(ctx, "", sampleEvent(n), event.Sender{Kind: event.FromKey, Name: "bench"})
				mu.Lock()
				took = append(took, time.Since(at).Seconds())
				if e != nil {
					err = e
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return float64(messages) / time.Since(began).Seconds(), took, err
}

// deliverEvents measures from when the deliveries of a full queue begin until the last one is noted. The app is an HTTP server behind a proxy of Go, as gitd's is.
func (b *bench) deliverEvents(i, messages int) (float64, error) {
	done := make(chan struct{})
	var n atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		if n.Add(1) == int64(messages) {
			close(done)
		}
	}))
	defer app.Close()
	at, err := url.Parse(app.URL)
	if err != nil {
		return 0, err
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	p, err := local.Open(b.ctx, local.Options{File: filepath.Join(b.dir, fmt.Sprintf("deliver-%d.db", i)), Domain: "localhost", Proxy: proxy})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if err := p.SetTriggers(b.ctx, event.Owner{App: "bench", ID: 1, Release: 1}, []event.Trigger{{Name: "all", Broker: event.DefaultBroker, Path: "/", Delivery: event.Defaults()}}); err != nil {
		return 0, err
	}
	p.Start()
	began := time.Now() // deliveries begin with the first event, and go on beside those that come in
	if _, _, err := sendEvents(b.ctx, p, messages); err != nil {
		return 0, err
	}
	select {
	case <-done:
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	return float64(messages) / time.Since(began).Seconds(), nil
}
