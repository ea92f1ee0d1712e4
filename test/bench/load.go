package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// load is constant traffic on an app: clients that keep their connection, clients that make a new one each time, and
// requests that take long enough to be under way when traffic is shifted.
type load struct {
	mu       sync.Mutex
	sent     int
	failures []string
	builds   map[string]int
	starts   map[string]bool // instances that answered
	lastBad  time.Time
	stopped  chan struct{}
	group    sync.WaitGroup
}

// startLoad starts 16 clients, about 50 requests a second each at most.
func (b *bench) startLoad(s *server, app string) *load {
	l := &load{builds: map[string]int{}, starts: map[string]bool{}, stopped: make(chan struct{})}
	url := "http://" + s.HTTP
	for n := range 16 {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: n%4 == 0}}
		path := "/who"
		if n%4 == 1 {
			path = "/slow"
		}
		l.group.Go(func() {
			defer client.CloseIdleConnections()
			for {
				select {
				case <-l.stopped:
					return
				default:
				}
				l.one(client, url+path, app)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return l
}

// one sends a request and notes how it went. It is never cut short: what is under way when the load ends is waited for.
func (l *load) one(client *http.Client, url, app string) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		l.note(instance{}, err)
		return
	}
	r.Host = app + ".localhost"
	a, err := client.Do(r)
	if err != nil {
		l.note(instance{}, err)
		return
	}
	body, err := io.ReadAll(a.Body)
	a.Body.Close()
	if err != nil {
		l.note(instance{}, err)
		return
	}
	i, err := parseInstance(a.StatusCode, string(body))
	l.note(i, err)
}

func (l *load) note(i instance, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err != nil {
		l.lastBad = time.Now()
		l.failures = append(l.failures, err.Error())
		return
	}
	l.builds[i.build]++
	l.starts[i.started] = true
}

// stop ends the load when every request under way has its answer.
func (l *load) stop() {
	close(l.stopped)
	l.group.Wait()
}

// kinds tells the failures apart.
func (l *load) kinds() string {
	count := map[string]int{}
	for _, f := range l.failures {
		if i := strings.LastIndex(f, ": "); i > 0 {
			f = f[i+2:]
		}
		count[clip(f)]++
	}
	var all []string
	for f, n := range count {
		all = append(all, fmt.Sprintf("%d× %s", n, f))
	}
	return strings.Join(all, ", ")
}

// cutover pushes twice under load.
func (b *bench) cutover() error {
	s, src, err := b.web()
	if err != nil {
		return err
	}
	l := b.startLoad(s, "web")
	pushes := func() error {
		for n := range 2 {
			word := fmt.Sprintf("build-%d", n+1)
			if err := src.change(word); err != nil {
				return err
			}
			if err := b.commit(src); err != nil {
				return err
			}
			if _, _, err := s.push("web", src); err != nil {
				return err
			}
			// Live means that from now on the new build answers.
			if i, err := s.who("web"); err != nil || i.build != word {
				return fmt.Errorf("after the push of %s, %q answers (%v)", word, i.build, err)
			}
			select {
			case <-b.ctx.Done():
				return b.ctx.Err()
			case <-time.After(time.Second): // let the old revision drain under load
			}
		}
		return nil
	}
	err = pushes()
	l.stop()
	if err != nil {
		return err
	}
	if len(l.builds) < 3 {
		return fmt.Errorf("the load saw only %v: it measured no cut-over", l.builds)
	}
	b.say("  %d requests, %d failed %s", l.sent, len(l.failures), l.kinds())
	b.report.title("Requests under load (16 clients: keep-alive, new connections, 300 ms answers)")
	b.report.count("failed through two cut-overs", len(l.failures), l.sent)
	if len(l.failures) > 0 {
		b.report.note("failed through the cut-overs: %s", l.kinds())
	}
	return nil
}

// firstAnswer returns how long after a moment the app web answers again; 0 is not within a minute.
func (b *bench) firstAnswer(address string, since time.Time) time.Duration {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for b.ctx.Err() == nil {
		if i, err := b.ask(client, "http://"+address+"/who", "web"); err == nil && i.build != "" {
			return time.Since(since)
		}
		if time.Since(since) > time.Minute {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return 0
}

// restart kills gitd under load and starts it again on the same addresses.
func (b *bench) restart() error {
	s, _, err := b.web()
	if err != nil {
		return err
	}
	before, err := s.who("web")
	if err != nil {
		return err
	}
	rounds := b.rounds(3, 2)
	var outages samples
	sent, failed := 0, 0
	var kinds []string
	for n := range rounds {
		l := b.startLoad(s, "web")
		time.Sleep(500 * time.Millisecond)
		killed := time.Now()
		s.process.kill()
		again := make(chan error, 1)
		ssh, web := s.SSH, s.HTTP
		go func() { again <- s.serve(ssh, web) }()
		took := b.firstAnswer(web, killed)
		err := <-again
		time.Sleep(500 * time.Millisecond)
		l.stop()
		if err != nil {
			return err
		}
		if took == 0 {
			return fmt.Errorf("no answer a minute after the restart")
		}
		if late := l.lastBad.Sub(killed); late > took+5*time.Second {
			b.report.note("a request still failed %s after the kill, long after the first answer", late)
		}
		outages.add(took)
		sent += l.sent
		failed += len(l.failures)
		if len(l.failures) > 0 {
			kinds = append(kinds, l.kinds())
		}
		b.say("  round %d of %d: first answer %s after kill -9; %d of %d requests failed %s", n+1, rounds, seconds(took.Seconds()), len(l.failures), l.sent, l.kinds())
	}
	after, err := s.who("web")
	if err != nil {
		return err
	}
	instances := 0
	if after.started != before.started {
		instances = 1
	}
	b.report.title("Restart of gitd by kill -9 and serve, under the same load")
	b.report.durationAtMost("first answer after the kill", outages, 2)
	b.report.count("instances restarted", instances, 1)
	b.report.count("requests that failed (the proxy lives on)", failed, sent)
	if failed > 0 {
		b.report.note("failed through the restarts: %s", strings.Join(kinds, ", "))
	}
	return nil
}

// ask sends one request that does not count.
func (b *bench) ask(client *http.Client, url, app string) (instance, error) {
	l := &load{builds: map[string]int{}, starts: map[string]bool{}}
	l.one(client, url, app)
	for build := range l.builds {
		return instance{build: build}, nil
	}
	return instance{}, fmt.Errorf("%s", l.kinds())
}
