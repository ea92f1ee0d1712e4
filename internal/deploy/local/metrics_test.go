package local

import (
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/proxy"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// A scrape goes on while revisions come and go.
func TestScrape_Beside(t *testing.T) {
	p := &Platform{proxy: proxy.New(proxy.Options{}), services: map[string]*service{"shop": {revisions: map[string]*revision{}}}}
	var changes sync.WaitGroup
	stop := make(chan struct{})
	changes.Go(func() {
		r := &revision{p: p, service: "shop", name: "shop-v1", settings: settings{noWeb: true}}
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, name := range []string{"a", "b", "c"} {
				p.mu.Lock()
				p.services["shop"].revisions[name] = r
				p.mu.Unlock()
			}
			p.mu.Lock()
			clear(p.services["shop"].revisions)
			p.mu.Unlock()
		}
	})
	for range 1000 {
		p.Scrape(t.Context(), &telemetry.Scrape{}, telemetry.Requests{})
	}
	close(stop)
	changes.Wait()
}
