package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/gitd-io/gitd/internal/event"
)

var errLate = errors.New("the app did not answer in time")

// Bounds on what is read of an answer.
const (
	toldBytes    = 1 << 10  // of one that is no event
	discardBytes = 10 << 20 // then it is cut off
)

// answer keeps what is needed of the answer to an event.
type answer struct {
	header  http.Header
	status  int
	body    []byte
	cut     bool // there was more
	failed  string
	passing int
	end     context.CancelFunc
	hold    *hold
	full    bool // it was cut off, since there was no room for it
}

var errFull = errors.New("the answers of the app that are under way are too large together")

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 { // not an informational one
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	most := toldBytes
	if event.Replies(a.status) && event.IsEvent(a.header) {
		most = 2 * event.MaxSize
	}
	n := min(len(b), max(most-len(a.body), 0))
	if most > toldBytes && !a.hold.more(n) {
		a.full = true
		a.end()
		return 0, errFull
	}
	a.body = append(a.body, b[:n]...)
	a.cut = a.cut || n < len(b)
	if a.passing += len(b); a.passing > discardBytes {
		a.end()
		return 0, errors.New("enough")
	}
	return len(b), nil
}

// Flush lets a streaming answer through.
func (a *answer) Flush() {}

// serve has a handler answer.
func (a *answer) serve(h http.Handler, q *http.Request) {
	defer a.noRoom()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler { //nolint:errorlint // it is that very value
				panic(v)
			}
			if a.passing <= discardBytes {
				a.status, a.failed = 0, "the answer broke off"
			}
		}
	}()
	h.ServeHTTP(a, q)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.status == 499 { // ours: the request was ended
		a.status, a.failed = 0, "the request was ended"
	}
}

// noRoom makes an answer that was cut off for want of room a failure: the event is sent again, later and with fewer at once.
func (a *answer) noRoom() {
	if a.full {
		a.status, a.failed, a.body = 0, errFull.Error(), nil
	}
}

// told is the beginning of the body, or why there is no answer.
func (a *answer) told() []byte {
	if a.status == 0 {
		return []byte(a.failed)
	}
	return a.body[:min(len(a.body), toldBytes)]
}

func newBody(data []byte) io.ReadCloser {
	if len(data) == 0 {
		return http.NoBody
	}
	return io.NopCloser(bytes.NewReader(data))
}
