package keeper_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event/keeper"
)

func (w *world) mail(to, id string) string {
	w.t.Helper()
	return w.ask("POST", "/send", keeper.Mail{To: to, Broker: "default", Event: fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/s","type":"t"}`, id)})
}

// An event that was accepted, and that its broker then refuses, is a dead letter: it is not tried without end.
func TestRefusedLater(t *testing.T) {
	w := start(t)
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	var asked atomic.Int32
	broker := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		a.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(a, "no")
	}))
	defer broker.Close()
	w.mail(broker.URL, "e1") // returns when gitd no longer waits
	status.Store(http.StatusNotFound)
	eventually(t, func() bool {
		l := w.letters("")
		return len(l) == 1 && l[0].Again == nil && l[0].Failure.Status == 404 && l[0].Out
	})
	n := asked.Load()
	w.restart()
	if l := w.letters(""); len(l) != 1 || l[0].Failure.String() != "404: no" || asked.Load() != n {
		t.Errorf("%+v, asked %d times, before %d", l, asked.Load(), n)
	}
	// It can be sent once more, and is gone when the broker has taken it.
	retry := func() {
		w.ask("POST", "/again", keeper.Order{Letters: []int64{w.letters("")[0].ID}, Again: keeper.Again{To: broker.URL}})
	}
	retry()
	eventually(t, func() bool { l := w.letters(""); return asked.Load() == n+1 && len(l) == 1 && l[0].Again == nil })
	status.Store(http.StatusAccepted)
	retry()
	eventually(t, func() bool { return len(w.letters("")) == 0 })
}

// Where the disk is full for a moment, what is under way goes on.
func TestDiskFull(t *testing.T) {
	w := start(t)
	w.die("e1")
	id := w.letters("")[0].ID
	obstacle := filepath.Join(w.dir, fmt.Sprint(id, ".json.new"))
	var asked atomic.Int32
	shop := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			return
		}
		// A directory in the way of the file is what the keeper cannot write over, also as root.
		if err := os.Mkdir(obstacle, 0o700); err != nil {
			t.Error(err)
		}
		a.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer shop.Close()
	again := keeper.Again{To: shop.URL}
	again.Delivery.Retry = 3
	w.ask("POST", "/again", keeper.Order{Letters: []int64{id}, Again: again})
	eventually(t, func() bool { return asked.Load() == 1 })
	time.Sleep(50 * time.Millisecond)
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(w.letters("")) == 0 })
}

// What waits for one app does not hold up what waits for another, and is not read before its turn.
func TestTurns(t *testing.T) {
	w := start(t)
	var now, most atomic.Int32
	go1 := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-go1
	}))
	defer slow.Close()
	release := sync.OnceFunc(func() { close(go1) })
	defer release()
	fast := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer fast.Close()
	order := func(id int64, to string) {
		w.ask("POST", "/again", keeper.Order{Letters: []int64{id}, Again: keeper.Again{To: to}})
	}
	for i := range 10 {
		w.dieOf(7, fmt.Sprint("s", i))
	}
	w.dieOf(8, "fast")
	for _, l := range w.letters("app=7") {
		order(l.ID, slow.URL)
	}
	eventually(t, func() bool { return now.Load() == 2 })
	order(w.letters("app=8")[0].ID, fast.URL)
	eventually(t, func() bool { return len(w.letters("app=8")) == 0 })
	if most.Load() != 2 {
		t.Errorf("%d requests at a time to one app", most.Load())
	}
	release()
	eventually(t, func() bool { return len(w.letters("")) == 0 })
}

// Large events on their way to a broker that is slow do not fill the memory: few of them are sent at a time.
func TestMailBytes(t *testing.T) {
	w := start(t)
	var now atomic.Int32
	free := make(chan struct{})
	broker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		now.Add(1)
		defer now.Add(-1)
		<-free
	}))
	defer broker.Close()
	release := sync.OnceFunc(func() { close(free) })
	defer release()
	data := strings.Repeat("x", 1<<20-1<<10)
	for i := range 40 {
		text := fmt.Sprintf(`{"id":%d,"number":%d,"broker":"default","out":true,"again":{"to":%q},"event":{"specversion":"1.0","id":"l%d","source":"/s","type":"t","datacontenttype":"text/plain","data":%q}}`, 900+i, 900+i, broker.URL, i, data)
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprint(900+i, ".json")), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	eventually(t, func() bool { return now.Load() == 24 }) // MiB
	time.Sleep(100 * time.Millisecond)
	if n := now.Load(); n > 24 {
		t.Errorf("%d at a time", n)
	}
	release()
	eventually(t, func() bool { return len(w.letters("")) == 0 })
}
