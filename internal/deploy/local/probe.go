package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/proxy/dataplane"
)

// Limits on the response that Probe reads.
const (
	probeBody = 1 << 20
	probeTime = 2 * time.Second // for the body, after the status
)

// Probe implements deploy.Platform. The request goes through the whole data plane: the tag's route, the revision's queue, a
// connection into an instance's network namespace.
func (p *Platform) Probe(ctx context.Context, service, tag, path string) (int, error) {
	p.mu.RLock()
	s := p.services[service]
	found := false
	if s != nil {
		for _, t := range s.traffic {
			found = found || t.Tag == tag && tag != ""
		}
	}
	p.mu.RUnlock()
	if !found {
		return 0, fmt.Errorf("tag %s of service %s: %w", tag, service, deploy.ErrNotFound)
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	ctx, cancel := context.WithCancel(dataplane.WithSplit(ctx, service+"/"+tag))
	defer cancel()
	host := tag + "-" + service + "." + p.opts.Domain
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return 0, err
	}
	q.Header.Set("User-Agent", "gitd-check")
	q.RequestURI = q.URL.RequestURI()
	q.RemoteAddr = "127.0.0.1:0"
	w := &statusWriter{header: http.Header{}, end: cancel}
	func() {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // it is that very value
				panic(v)
			}
		}()
		p.plane.ServeHTTP(w, q)
	}()
	w.stop()
	switch {
	case w.status == 0 || w.status == 499:
		if cause := context.Cause(ctx); cause != nil {
			return 0, cause
		}
		return 0, errors.New("no answer")
	}
	return w.status, nil
}

// statusWriter keeps the status of a response and discards the rest. It ends an endless response after some time.
type statusWriter struct {
	header http.Header
	status int
	size   int
	end    func()
	once   sync.Once
	timer  *time.Timer
}

func (w *statusWriter) Header() http.Header { return w.header }

func (w *statusWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols { // informational
		return
	}
	w.once.Do(func() {
		w.status = status
		w.timer = time.AfterFunc(probeTime, w.end)
	})
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.size += len(b)
	if w.size > probeBody {
		return 0, errors.New("enough")
	}
	return len(b), nil
}

// Flush lets a streaming response through.
func (w *statusWriter) Flush() {}

func (w *statusWriter) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
