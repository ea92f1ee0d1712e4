package lambda

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// listening is a runtime whose requests come over a connection, since some of them are under way while others are made.
func listening(t *testing.T) (*runtime, string) {
	r := newRuntime(t)
	server := httptest.NewServer(r.api)
	t.Cleanup(server.CloseClientConnections) // a stream that is broken off ends with it
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return r, server.URL + "/2018-06-01/"
}

// waiting asks for an invocation, and sends its ID to the channel.
func waiting(t *testing.T, url string) <-chan string {
	got := make(chan string, 1)
	go func() {
		resp, err := http.Get(url + "runtime/invocation/next")
		if err != nil {
			got <- err.Error()
			return
		}
		resp.Body.Close()
		got <- resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
	}()
	return got
}

// A runtime that waits for an invocation has loaded its function, and has none to answer.
func TestAPI_NextUnderWay(t *testing.T) {
	r, url := listening(t)
	asked := make(chan struct{})
	r.broker.began(func() { close(asked) })
	got := waiting(t, url)
	<-asked
	for _, s := range []step{
		{do: "POST runtime/init/error", status: 403, want: forbidden},
		{do: "POST runtime/invocation/a/response", status: 400, want: badID},
		{do: "POST runtime/invocation/a/error", status: 400, want: badID},
		call,
	} {
		r.do(s)
	}
	r.id = <-got
	r.do(respond1)
	r.do(step{do: "result", want: []string{"Error-Type: \n", "{}"}})
}

// sending begins to send an answer, of which rest sends what is left. Its status is sent to the channel.
func sending(t *testing.T, r *runtime, url, path string, header http.Header) (rest *io.PipeWriter, status <-chan int) {
	t.Helper()
	r.do(call)
	r.do(next)
	body, w := io.Pipe()
	q, err := http.NewRequest("POST", url+"runtime/invocation/"+r.id+"/"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name := range header {
		q.Header.Set(name, header.Get(name))
	}
	ended := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			ended <- 0
			return
		}
		resp.Body.Close()
		ended <- resp.StatusCode
	}()
	if _, err := io.WriteString(w, "half"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, 10*time.Second, "the answer is under way", func() bool {
		r.broker.mu.Lock()
		defer r.broker.mu.Unlock()
		return r.broker.current == nil
	})
	return w, ended
}

// While an answer is under way, the runtime may not ask for the next invocation, nor answer once more.
func TestAPI_AnswerUnderWay(t *testing.T) {
	streaming := http.Header{"Lambda-Runtime-Function-Response-Mode": {"streaming"}}
	for _, tt := range []struct {
		name, path string
		header     http.Header
		kind       string // of its error
	}{
		{"a response", "response", nil, ""},
		{"a streamed one", "response", streaming, ""},
		{"an error", "error", nil, "Runtime.Unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, url := listening(t)
			rest, status := sending(t, r, url, tt.path, tt.header)
			stream := make(chan string, 1)
			if tt.header != nil { // the client reads while the runtime writes
				go func() {
					res := <-r.results
					text, _ := io.ReadAll(res.stream)
					close(res.done)
					stream <- string(text)
				}()
			}
			for _, s := range []step{
				{do: next.do, status: 403, want: forbidden},
				{do: "POST runtime/invocation/{id}/response", status: 403, want: forbidden},
				{do: "POST runtime/invocation/{id}/error", status: 403, want: forbidden},
				{do: "POST runtime/invocation/other/response", status: 400, want: badID},
				{do: "POST runtime/init/error", status: 403, want: forbidden},
			} {
				r.do(s)
			}
			if _, err := io.WriteString(rest, " whole"); err != nil {
				t.Fatal(err)
			}
			rest.Close()
			if got := <-status; got != 202 {
				t.Errorf("the answer: %d", got)
			}
			if tt.header == nil {
				r.do(step{do: "result", want: []string{"Error-Type: " + tt.kind + "\n", "\nhalf whole"}})
			} else if text := <-stream; text != "half whole" {
				t.Errorf("the client got %q", text)
			}
			r.do(call)
			r.do(next)
			r.do(respond1)
		})
	}
}

// An answer whose connection breaks off has failed, and the runtime may go on.
func TestAPI_AnswerBreaksOff(t *testing.T) {
	r, url := listening(t)
	rest, _ := sending(t, r, url, "response", nil)
	rest.CloseWithError(io.ErrClosedPipe)
	r.do(step{do: "result", want: []string{"Error-Type: Runtime.TruncatedResponse\n", `"errorType":"Runtime.TruncatedResponse"`}})
	r.do(call)
	r.do(next)
	r.do(respond1)
}

// The deadline is the moment at which the runtime is ended: the time of an invocation from when it got it.
func TestAPI_Deadline(t *testing.T) {
	for _, limit := range []time.Duration{3 * time.Second, 10 * time.Second, defaultTimeout} {
		r := newRuntime(t)
		r.broker.timeout = limit
		r.do(call)
		w := httptest.NewRecorder()
		before := time.Now().Truncate(time.Millisecond)
		r.api.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/2018-06-01/runtime/invocation/next", nil))
		ms, err := strconv.ParseInt(w.Header().Get("Lambda-Runtime-Deadline-Ms"), 10, 64)
		if at := time.UnixMilli(ms); err != nil || at.Before(before.Add(limit)) || at.After(time.Now().Add(limit)) {
			t.Errorf("%s: %v, asked at %v (%v)", limit, at, before, err)
		}
	}
}

// A runtime whose answer is cut off at the deadline is ended, also if it asks for the next invocation before the limit of time is noticed.
func TestBroker_SentTooLate(t *testing.T) {
	killed := make(chan *invocation, 1)
	b := newBroker(time.Hour, func(inv *invocation) { killed <- inv })
	b.began(func() {})
	go func() { _, _, _ = b.invoke(context.Background(), nil, "", "") }()
	inv, _ := b.next(context.Background())
	if taken, _ := b.take(inv.id); taken != inv {
		t.Fatal("it is not taken")
	}
	inv.deadline = time.Now()
	b.sent(inv)
	if got, _ := b.next(context.Background()); got != nil {
		t.Errorf("a runtime that is ended gets %v", got)
	}
	select {
	case <-killed:
	default:
		t.Error("the runtime goes on")
	}
	inv.result <- result{}
}
