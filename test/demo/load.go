package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// load is a constant stream of requests and what came of them.
type load struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup
	began   time.Time

	mu      sync.Mutex
	answers map[string]*answer // by body or error
}

type answer struct {
	count       int
	failed      bool
	first, last time.Duration
}

// start lets clients ask for / until stop.
func start(ctx context.Context, address, host string, clients int) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, began: time.Now(), answers: map[string]*answer{}}
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 30 * time.Second}
	for range clients {
		l.clients.Go(func() {
			for ctx.Err() == nil {
				l.ask(ctx, c, address, host)
				time.Sleep(5 * time.Millisecond) // leave some of the machine to the build
			}
		})
	}
	return l
}

func (l *load) ask(ctx context.Context, c *http.Client, address, host string) {
	q, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil) // not ctx: a request that began is waited for
	if err != nil {
		panic(err) // the address came from the server
	}
	q.Host = host
	what, failed := "", false
	r, err := c.Do(q)
	if err != nil {
		what, failed = err.Error(), true
	} else {
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		what, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
		if failed = err != nil || r.StatusCode != http.StatusOK; failed {
			what = fmt.Sprintf("%s %v %s", r.Status, err, what)
		}
	}
	at := time.Since(l.began)
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.answers[what]
	if a == nil {
		a = &answer{failed: failed, first: at}
		l.answers[what] = a
	}
	a.count++
	a.last = at
}

func (l *load) stop() {
	l.cancel()
	l.clients.Wait()
}

func (l *load) total() (n int) {
	for _, a := range l.answers {
		n += a.count
	}
	return n
}

func (l *load) failed() (n int) {
	for _, a := range l.answers {
		if a.failed {
			n += a.count
		}
	}
	return n
}

func (l *load) print(out io.Writer) {
	var all []string
	for what := range l.answers {
		all = append(all, what)
	}
	sort.Slice(all, func(i, j int) bool { return l.answers[all[i]].first < l.answers[all[j]].first })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ANSWER\tREQUESTS\tFROM\tTO")
	for _, what := range all {
		a := l.answers[what]
		fmt.Fprintf(w, "%s\t%d\t%.2f s\t%.2f s\n", what, a.count, a.first.Seconds(), a.last.Seconds())
	}
	w.Flush()
	fmt.Fprintf(out, "%d requests, %d failed\n", l.total(), l.failed())
}
