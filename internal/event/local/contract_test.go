package local_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/contract"
	"github.com/gitd-io/gitd/internal/event/contract/receiver"
	"github.com/gitd-io/gitd/internal/event/local"
)

// apps are apps in this process, by name.
type apps struct {
	mu  sync.Mutex
	all map[string]*receiver.Receiver
}

func (a *apps) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	a.mu.Lock()
	r := a.all[strings.TrimSuffix(q.Host, ".test")]
	a.mu.Unlock()
	if r == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	r.ServeHTTP(w, q)
}

func TestContract(t *testing.T) {
	a := &apps{all: map[string]*receiver.Receiver{}}
	file := filepath.Join(t.TempDir(), "events.db")
	rights := &contract.Rights{}
	open := func(t *testing.T) *local.Platform {
		p, err := local.Open(t.Context(), local.Options{File: file, Proxy: a, Domain: "test", Log: t.Logf, Rights: rights})
		if err != nil {
			t.Fatal(err)
		}
		p.Start()
		return p
	}
	p := open(t)
	defer func() { p.Close() }()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Outside().ServeHTTP(w, r) }))
	defer web.Close()
	contract.Run(t, &contract.Env{
		Platform: p, Rights: rights,
		AsApp: func(t *testing.T, of event.Owner, e event.Event) {
			q := httptest.NewRequest("POST", "/", bytes.NewReader(e.Data))
			e.ToHeader(q.Header)
			p.Inside(of).ServeHTTP(httptest.NewRecorder(), q)
		},
		App: func(t *testing.T, name string) (event.Owner, func(t *testing.T) []receiver.Got) {
			r := &receiver.Receiver{}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.all[name] = r
			return event.Owner{App: name, ID: int64(len(a.all))}, func(t *testing.T) (got []receiver.Got) {
				w := httptest.NewRecorder()
				r.ServeHTTP(w, httptest.NewRequest("GET", "/got", nil))
				if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
					t.Fatal(err)
				}
				return got
			}
		},
		Ingress: func(_ *testing.T, broker string) string {
			if broker == event.DefaultBroker {
				return web.URL + "/"
			}
			return web.URL + "/" + broker
		},
		Reopen: func(t *testing.T) event.Platform {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			p = open(t)
			return p
		},
	})
}
