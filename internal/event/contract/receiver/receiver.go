// Package receiver is an app that gets events: what it answers is in the path, and it tells what it got. The contract suite runs it on each platform.
package receiver

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Got is one event that came in, as it came.
type Got struct {
	Path   string
	Header map[string]string // by lower-case names
	Body   []byte
}

// Receiver answers, by the first part of the path of a POST:
//
//	/ok             202
//	/status/N       N, from 300 on with the body "no"
//	/fail/N/STATUS  STATUS for the first N attempts of each event, then 202
//	/reply/TYPE     200 with an event of that type; its id is that of the event with "-r"
//	/quiet/TYPE     the same with 202, where it is no reply
//	/broken         200 with what begins as an event and is none
//	/slow/DURATION  202 after that time
//
// GET /got returns what came in as JSON.
type Receiver struct {
	mu sync.Mutex
	// mu guards the following.
	got      []Got
	attempts map[string]int
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodGet {
		r.mu.Lock()
		defer r.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.got)
		return
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	g := Got{Path: q.URL.Path, Header: map[string]string{}, Body: body}
	for name := range q.Header {
		g.Header[strings.ToLower(name)] = q.Header.Get(name)
	}
	r.mu.Lock()
	r.got = append(r.got, g)
	if r.attempts == nil {
		r.attempts = map[string]int{}
	}
	r.attempts[q.URL.Path+" "+g.Header["ce-id"]]++
	attempt := r.attempts[q.URL.Path+" "+g.Header["ce-id"]]
	r.mu.Unlock()
	answer(w, q.Context().Done(), strings.Split(strings.Trim(q.URL.Path, "/"), "/"), g, attempt)
}

func answer(w http.ResponseWriter, gone <-chan struct{}, parts []string, g Got, attempt int) {
	arg := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(arg(i))
		return n
	}
	switch parts[0] {
	case "status":
		w.WriteHeader(number(1))
		if number(1) >= 300 {
			_, _ = io.WriteString(w, "no")
		}
	case "fail":
		if attempt <= number(1) {
			w.WriteHeader(number(2))
			return
		}
		w.WriteHeader(http.StatusAccepted)
	case "reply", "quiet":
		h := w.Header()
		h.Set("Ce-Specversion", "1.0")
		h.Set("Ce-Id", g.Header["ce-id"]+"-r")
		h.Set("Ce-Source", "/receiver")
		h.Set("Ce-Type", arg(1))
		h.Set("Content-Type", "text/plain")
		if parts[0] == "quiet" {
			w.WriteHeader(http.StatusAccepted)
		}
		_, _ = io.WriteString(w, "reply")
	case "broken":
		w.Header().Set("Content-Type", "application/cloudevents+json")
		_, _ = io.WriteString(w, "{")
	case "slow":
		d, _ := time.ParseDuration(arg(1))
		select {
		case <-time.After(d):
		case <-gone:
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}
