package contract

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// held: during maintenance with a hold requests wait, and reach what serves at its end as they were sent; those that waited in vain get 503. How long they
// wait can be changed meanwhile.
func (s *suite) held(t *testing.T) {
	s.mustRoll(t, stays(s.service("held", "v1")))
	s.hold(t, "held", time.Minute)
	w := s.waiting(t, "held")
	time.Sleep(time.Second)
	s.mustRoll(t, stays(s.service("held", "v2")))
	if n := w.answered(); n > 0 {
		t.Errorf("%d requests were answered before the end", n)
	}
	s.hold(t, "held", 2*time.Minute)
	w.more(s.waiting(t, "held"))
	time.Sleep(time.Second)
	if n := w.answered(); n > 0 {
		t.Errorf("%d requests were answered when the hold was changed", n)
	}
	on, err := s.env.Platform.Maintenance(within(t), "held")
	if err != nil || on == nil || on.Hold != 2*time.Minute {
		t.Errorf("%+v, %v", on, err)
	}
	s.resume(t, "held")
	host := "held." + s.env.Domain
	w.all(t, "v2", "ada words", "GET "+host+"/asked/a%2Fb%20c?x=1;y=%zz")
	s.want(t, "held", "/", "v2")

	s.hold(t, "held", 2*time.Second)
	began := time.Now()
	code, body, err := s.get(within(t), "held", "/")
	if took := time.Since(began); err != nil || code != http.StatusServiceUnavailable || !strings.Contains(body, "is being maintained") || took < 2*time.Second || took > 30*time.Second {
		t.Errorf("a request that waits in vain: %d %q, %v, after %v", code, body, err, took)
	}
	s.hold(t, "held", time.Minute)
	asked := make(chan int)
	go func() {
		code, _, _ := s.get(t.Context(), "held", "/")
		asked <- code
	}()
	time.Sleep(time.Second)
	s.hold(t, "held", 0)
	if code := <-asked; code != http.StatusServiceUnavailable {
		t.Errorf("a request that waited when the page came: %d", code)
	}
	s.maintained(t, "held")
	s.resume(t, "held")
	s.want(t, "held", "/", "v2")
}

// heldHTTP2: requests to an app that speaks HTTP/2 alone wait as well.
func (s *suite) heldHTTP2(t *testing.T) {
	svc := stays(s.service("heldtwo", "v1", "PROTOCOL=h2c"))
	svc.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, Name: "h2c"}}
	s.mustRoll(t, svc)
	s.hold(t, "heldtwo", time.Minute)
	w := s.waiting(t, "heldtwo")
	time.Sleep(time.Second)
	s.resume(t, "heldtwo")
	w.all(t, "v1", "ada words", "GET heldtwo."+s.env.Domain+"/asked/a%2Fb%20c?x=1;y=%zz")
	s.want(t, "heldtwo", "/protocol", "HTTP/2.0")
}

// hold turns maintenance on, or changes it.
func (s *suite) hold(t *testing.T, name string, hold time.Duration) {
	t.Helper()
	if err := s.env.Platform.SetMaintenance(within(t), name, &deploy.Maintenance{Hold: hold, By: "ada", Since: time.Now().UTC()}); err != nil {
		t.Fatal(err)
	}
}

// resume turns maintenance off.
func (s *suite) resume(t *testing.T, name string) {
	t.Helper()
	if err := s.env.Platform.SetMaintenance(within(t), name, nil); err != nil {
		t.Fatal(err)
	}
}

// waiters are requests that wait.
type waiters struct {
	wait sync.WaitGroup
	also []*waiters

	mu   sync.Mutex // mu guards the following
	got  map[string]int
	errs []error
}

// waiting sends requests, five of each kind, that should wait.
func (s *suite) waiting(t *testing.T, name string) *waiters {
	w := &waiters{got: map[string]int{}}
	for range 5 {
		for _, kind := range []struct{ method, path, body string }{
			{http.MethodGet, "/", ""}, {http.MethodPost, "/echo?header=By", "words"}, {http.MethodGet, "/asked/a%2Fb%20c?x=1;y=%zz", ""},
		} {
			q, err := http.NewRequestWithContext(within(t), kind.method, "http://"+name+"."+s.env.Domain+kind.path, strings.NewReader(kind.body))
			if err != nil {
				t.Fatal(err)
			}
			q.Header.Set("By", "ada")
			w.wait.Go(func() { w.answer(s.client.Do(q)) })
		}
	}
	return w
}

func (w *waiters) answer(res *http.Response, err error) {
	text := ""
	if err == nil {
		defer res.Body.Close()
		var b []byte
		b, err = io.ReadAll(res.Body)
		if text = string(b); err == nil && res.StatusCode != http.StatusOK {
			err = errors.New(res.Status + ": " + text)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	w.got[text]++
}

func (w *waiters) more(also *waiters) { w.also = append(w.also, also) }

// answered is how many have an answer, or none any more.
func (w *waiters) answered() int {
	w.mu.Lock()
	n := len(w.errs)
	for _, of := range w.got {
		n += of
	}
	w.mu.Unlock()
	for _, also := range w.also {
		n += also.answered()
	}
	return n
}

// all waits for the answers, and fails unless each kind of request has its own.
func (w *waiters) all(t *testing.T, want ...string) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); w.wait.Wait() }()
	apptest.Eventually(t, settles, "the requests that waited are answered", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	for _, err := range w.errs {
		t.Errorf("a request that waited: %v", err)
	}
	for _, text := range want {
		if w.got[text] != 5 {
			t.Errorf("of %q: %v", text, w.got)
			break
		}
	}
	for _, also := range w.also {
		also.all(t, want...)
	}
}
