package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

// answer is what came back for a request.
type answer struct {
	status int
	body   string
}

// newClient dials addr whatever the address in a request says.
func newClient(addr string, keepAlive bool) *http.Client {
	d := &net.Dialer{Timeout: 30 * time.Second}
	return &http.Client{
		Timeout: 90 * time.Second,
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) },
			DisableKeepAlives:   !keepAlive,
			MaxIdleConnsPerHost: 256,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func get(ctx context.Context, c *http.Client, host, path string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 16 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && len(b) > most { // what is cut off here would be judged as missing
		err = fmt.Errorf("the answer is longer than %d bytes", most)
	}
	return answer{resp.StatusCode, string(b)}, err
}

// loadWorkers send a request every loadPause each: half of them over kept connections, half over a new one each time, since a
// switch of versions can break either.
const (
	loadWorkers = 4
	loadPause   = 20 * time.Millisecond
)

// load is constant traffic to one app.
type load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	requests int
	failures []string
	bodies   map[string]int
}

func startLoad(addr, host, path string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, bodies: map[string]int{}}
	for i := range loadWorkers {
		c := newClient(addr, i%2 == 0)
		l.wait.Go(func() {
			defer c.CloseIdleConnections()
			tick := time.NewTicker(loadPause)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				began := time.Now()
				// Not ctx: a request that was sent is answered, also while the load stops.
				a, err := get(context.Background(), c, host, path)
				l.note(began, a, err)
			}
		})
	}
	return l
}

func (l *load) note(began time.Time, a answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	switch {
	case err != nil:
		l.failures = append(l.failures, fmt.Sprintf("%s after %s: %v", began.Format("15:04:05.000"), time.Since(began).Round(time.Millisecond), err))
	case a.status != http.StatusOK:
		l.failures = append(l.failures, fmt.Sprintf("%s: status %d: %.200s", began.Format("15:04:05.000"), a.status, a.body))
	default:
		l.bodies[strings.TrimSpace(fmt.Sprintf("%.80s", a.body))]++
	}
}

// stop ends the traffic and returns what it saw.
func (l *load) stop() string {
	l.cancel()
	l.wait.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d failed, %d different answers\n", l.requests, len(l.failures), len(l.bodies))
	seen := make([]string, 0, len(l.bodies))
	for body := range l.bodies {
		seen = append(seen, body)
	}
	sort.Strings(seen)
	for _, body := range seen {
		fmt.Fprintf(&b, "%6d × %s\n", l.bodies[body], body)
	}
	for i, f := range l.failures {
		if i == 20 {
			fmt.Fprintf(&b, "… and %d more\n", len(l.failures)-i)
			break
		}
		fmt.Fprintf(&b, "failed %s\n", f)
	}
	return b.String()
}
