package local_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/dataplane"
	"github.com/gitd-io/gitd/internal/event/local"
)

// TestDataPlane runs the tables that Knative's own broker is held to as well.
func TestDataPlane(t *testing.T) {
	var mu sync.Mutex
	var app http.Handler
	shop := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		h := app
		mu.Unlock()
		h.ServeHTTP(w, q)
	})
	p, err := local.Open(t.Context(), local.Options{File: filepath.Join(t.TempDir(), "events.db"), Proxy: shop, Domain: "test", Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Start()
	of := event.Owner{App: "shop", ID: 1, Release: 1}
	web := httptest.NewServer(p.Inside(of))
	defer web.Close()
	dataplane.Run(t, &dataplane.Env{Platform: p, Of: of,
		Handle: func(h http.Handler) {
			mu.Lock()
			defer mu.Unlock()
			app = h
		},
		Do: func(broker string, q *http.Request) (*http.Response, error) {
			path := q.URL.Path
			if broker != event.DefaultBroker {
				path = "/" + broker
			}
			to, err := q.URL.Parse(web.URL + path)
			if err != nil {
				return nil, err
			}
			q.URL, q.Host = to, strings.TrimPrefix(web.URL, "http://")
			return web.Client().Do(q)
		},
		Differs: map[string]string{
			"no event":  "gitd says which content modes there are, with 415",
			"a batch":   "as above",
			"408":       "it is tried again, as Knative's own broker does",
			"no answer": "an app in the test's own process always answers",
		},
	})
}
