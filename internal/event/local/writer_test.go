package local

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// A change that fails is undone alone, and none runs twice for it: those who send what fails would slow the others down by the square of how much it is.
func TestWriter_Fails(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, nil)
	began, end := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = p.w.write(t.Context(), func(*tx) error { return nil }, func() { close(began); <-end })
	})
	<-began // the others come while it is being written, and share the next transaction
	const most = 200
	mine := errors.New("mine")
	var ran atomic.Int64
	for i := range most {
		all.Go(func() {
			err := p.w.write(t.Context(), func(t *tx) error {
				ran.Add(1)
				if _, err := t.exec("INSERT INTO brokers (name, key, created) VALUES (?, '', 0)", fmt.Sprint("b", i)); err != nil {
					return err
				}
				if i%2 == 1 {
					return mine
				}
				return nil
			}, nil)
			if (i%2 == 1) != errors.Is(err, mine) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	for len(p.w.changes) < most {
		time.Sleep(time.Millisecond)
	}
	close(end)
	all.Wait()
	list, err := p.Brokers(t.Context())
	if err != nil || len(list) != 1+most/2 || ran.Load() != most {
		t.Errorf("%d brokers, %d ran, %v", len(list), ran.Load(), err)
	}
	for _, b := range list {
		var i int
		if _, err := fmt.Sscanf(b.Name, "b%d", &i); b.Name != event.DefaultBroker && (err != nil || i%2 == 1) {
			t.Errorf("%s is there", b.Name)
		}
	}
}
