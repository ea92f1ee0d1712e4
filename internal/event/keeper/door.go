package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// DoorPath begins the paths of requests from outside, which gitd answers: gitd may be where no request reaches it, so it comes and takes them.
const DoorPath = "/door"

// Bounds of the door.
const (
	doorBody = 2*event.MaxSize + 1 // one byte more than gitd takes: it says what is too large
	doorRead = 10 * time.Second    // for a body to arrive
	doorTake = 5 * time.Second     // that a request waits for its turn, and for gitd to take it
	doorTime = 45 * time.Second    // for gitd's answer
	doorWait = "10"                // seconds, for a sender that finds no gitd
	doorBeat = 20 * time.Second    // between two empty lines to a gitd that has nothing to answer
	atDoor   = 64                  // requests at a time
	doorRoom = 12 << 20            // bytes of their bodies
)

// Asked is a request from outside.
type Asked struct {
	ID     int64       `json:"id"` // 0 of a line that only says that the keeper is there
	Method string      `json:"method,omitempty"`
	URI    string      `json:"uri,omitempty"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// Answered is gitd's answer to it.
type Answered struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// door is where requests from outside wait for gitd.
type door struct {
	asked chan *Asked
	turns *turns

	mu      sync.Mutex
	last    int64
	answers map[int64]chan *Answered
	leave   context.CancelFunc // has the gitd that takes requests go
}

func newDoor() *door {
	return &door{asked: make(chan *Asked), turns: newTurns(atDoor, doorRoom), answers: map[int64]chan *Answered{}}
}

// wait gives a request a number, and makes what its answer comes by.
func (d *door) wait(a *Asked) chan *Answered {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	a.ID = d.last
	d.answers[a.ID] = make(chan *Answered, 1)
	return d.answers[a.ID]
}

// answer returns what the answer to a request comes by, once; nil where none is waited for.
func (d *door) answer(id int64) chan *Answered {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer delete(d.answers, id)
	return d.answers[id]
}

// enter takes a request from outside, and answers it as gitd does.
func (k *Keeper) enter(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), doorTake)
	defer cancel()
	size := r.ContentLength
	if size < 0 || size > doorBody {
		size = doorBody
	}
	done := k.door.turns.take(ctx, max(size, leastBody))
	if done == nil {
		notNow(w, "too many requests are under way: send it again in a moment")
		return
	}
	defer done()
	body, ok := doorBodyOf(w, r)
	if !ok {
		return
	}
	a := &Asked{Method: r.Method, URI: strings.TrimPrefix(r.URL.RequestURI(), DoorPath), Header: r.Header, Body: body}
	answers := k.door.wait(a)
	defer k.door.answer(a.ID)
	taken := time.NewTimer(doorTake)
	defer taken.Stop()
	select {
	case k.door.asked <- a:
	case <-taken.C:
		notNow(w, "gitd is not there: send the request again in a moment")
		return
	case <-r.Context().Done():
		return
	}
	late := time.NewTimer(doorTime)
	defer late.Stop()
	select {
	case got := <-answers:
		for name, v := range got.Header {
			w.Header()[name] = v
		}
		w.WriteHeader(got.Status)
		_, _ = w.Write(got.Body)
	case <-late.C:
		notNow(w, "gitd does not answer: send the request again in a moment")
	case <-r.Context().Done():
	}
}

// doorBodyOf reads the body of a request from outside; one that is too large is cut where gitd sees that it is.
func doorBodyOf(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(doorRead))
	body, err := io.ReadAll(io.LimitReader(r.Body, doorBody))
	if err != nil {
		http.Error(w, "the request did not arrive whole", http.StatusBadRequest)
		return nil, false
	}
	_ = c.SetReadDeadline(time.Time{}) // one that passes while the answer is waited for would end the request
	return body, true
}

// Relay takes requests from outside to the door of a keeper. It has their bodies before it does: a slow sender holds no place there.
func Relay(to *url.URL) http.Handler {
	to = &url.URL{Scheme: to.Scheme, Host: to.Host, Path: DoorPath}
	next := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			notNow(w, "what takes events is not there: send the request again in a moment")
		}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, ok := doorBodyOf(w, r); ok {
			r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
			next.ServeHTTP(w, r)
		}
	})
}

func notNow(w http.ResponseWriter, sentence string) {
	w.Header().Set("Retry-After", doorWait)
	http.Error(w, sentence, http.StatusServiceUnavailable)
}

// listAsked writes requests from outside, a line of JSON each, until the client goes or another one comes: of one gitd, the process before may not be known to be gone yet.
func (k *Keeper) listAsked(w http.ResponseWriter, r *http.Request) {
	ctx, leave := context.WithCancel(r.Context())
	defer leave()
	k.door.mu.Lock()
	if k.door.leave != nil {
		k.door.leave()
	}
	k.door.leave = leave
	k.door.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	a := &Asked{}
	for {
		if out.Encode(a) != nil || http.NewResponseController(w).Flush() != nil {
			return // who sent the request is told that gitd does not answer
		}
		beat := time.NewTimer(doorBeat)
		select {
		case a = <-k.door.asked:
		case <-beat.C:
			a = &Asked{}
		case <-k.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
		beat.Stop()
	}
}

// takeAnswer takes gitd's answer to a request.
func (k *Keeper) takeAnswer(w http.ResponseWriter, r *http.Request) {
	var got Answered
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&got); err != nil || got.Status < 200 || got.Status > 599 {
		http.Error(w, "this is no answer", http.StatusBadRequest)
		return
	}
	if answers := k.door.answer(number(r.PathValue("id"), 0)); answers != nil {
		answers <- &got
	}
	w.WriteHeader(http.StatusNoContent)
}
