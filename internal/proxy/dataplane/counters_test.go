package dataplane

import (
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"
)

// Each answer is counted once, by its status and by how long it took to begin, whether the app or gitd gave it.
func TestCounts(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/fails":
			w.WriteHeader(http.StatusInternalServerError)
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/slow":
			time.Sleep(30 * time.Millisecond)
		case "/breaks":
			panic(http.ErrAbortHandler)
		}
	}))
	r := revisionAt(addr, false, RevisionOptions{Timeout: time.Minute})
	p := route(map[string]Split{name: {{r, 100}}})
	c := client(t, serve(t, p), false)
	for _, path := range []string{"/", "/", "/fails", "/missing", "/slow", "/breaks"} {
		get(t, c, "http://"+name+path)
	}
	classes, latency := r.Counts()
	if want := [6]int64{2: 3, 4: 1, 5: 2}; classes != want {
		t.Errorf("by status: %v, want %v", classes, want)
	}
	var all, slow int64
	for _, l := range latency {
		all += l.N
		if l.UpTo == 0 || l.UpTo > 30*time.Millisecond {
			slow += l.N
		}
	}
	if all != 6 || slow < 1 {
		t.Errorf("by latency: %v", latency)
	}
}

// What gitd asks itself is not counted among the requests of an app.
func TestCountsNoChecks(t *testing.T) {
	r := revisionAt(serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), false, RevisionOptions{})
	p := New(nil)
	p.Publish(&Table{Named: map[string]Split{"check": {{r, 100}}}})
	c := client(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		p.ServeHTTP(w, q.WithContext(WithSplit(q.Context(), "check")))
	})), false)
	if code, _ := get(t, c, "http://"+name); code != http.StatusOK {
		t.Error(code)
	}
	if classes, _ := r.Counts(); classes != [6]int64{} {
		t.Error(classes)
	}
}

func TestBounds(t *testing.T) {
	for i := range bounds {
		if i > 0 && bounds[i] <= bounds[i-1] {
			t.Errorf("%v is not above %v", bounds[i], bounds[i-1])
		}
		var c counters
		c.count(200, bounds[i])
		c.count(200, bounds[i]+1)
		if c.latency[i].Load() != 1 || c.latency[i+1].Load() != 1 {
			t.Errorf("%v: %d and %d", bounds[i], c.latency[i].Load(), c.latency[i+1].Load())
		}
	}
}

func BenchmarkCount(b *testing.B) {
	var c counters
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.count(200, 3*time.Millisecond)
		}
	})
}

// In a sticky split a client stays with the revision that it came to first; new clients come by the percentages.
func TestSticky(t *testing.T) {
	says := func(word string) *Revision {
		return revisionAt(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "of-the-app"})
			_, _ = w.Write([]byte(word))
		})), false, RevisionOptions{Name: word})
	}
	blue, green := says("blue"), says("green")
	p := New(nil)
	publish := func(percent int64) {
		p.Publish(&Table{Hosts: map[string]Split{name: {{green, percent}, {blue, 100 - percent}}}, Sticky: map[string]bool{name: true}})
	}
	publish(50)
	front := serve(t, p)
	came := map[string]int{}
	for range 60 {
		jar, _ := cookiejar.New(nil)
		c := client(t, front, false)
		c.Jar = jar
		_, first := get(t, c, "http://"+name)
		came[first]++
		for range 3 {
			if _, again := get(t, c, "http://"+name+"/deeper"); again != first {
				t.Fatalf("%s, then %s", first, again)
			}
		}
	}
	if came["blue"] < 10 || came["green"] < 10 {
		t.Errorf("60 clients came to %v", came)
	}
	c := client(t, front, false)
	q, _ := http.NewRequest(http.MethodGet, "http://"+name, nil)
	q.AddCookie(&http.Cookie{Name: StickyCookie, Value: "green"})
	publish(0) // a revision without a share takes no client back
	res, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	var set *http.Cookie
	for _, k := range res.Cookies() {
		if k.Name == StickyCookie {
			set = k
		}
	}
	if set == nil || set.Value != "blue" || !set.HttpOnly || set.Path != "/" || len(res.Cookies()) != 2 {
		t.Errorf("cookies: %v", res.Cookies())
	}
}
