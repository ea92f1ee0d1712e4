package lambda_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// ask sends a request with a limit, for what may hang.
func ask(t *testing.T, f *function, path, body string) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Timeout: 8 * time.Second}).Post(f.url+path, "", strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, f.log())
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// An answer that does not end holds the instance no longer than an invocation may take, with a client that reads it, leaves it, or does not read.
func TestFunction_EndlessAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path string
		read       func(t *testing.T, c net.Conn)
	}{
		{"the client reads", "/ticks", func(t *testing.T, c net.Conn) {
			if text, _ := io.ReadAll(c); !strings.Contains(string(text), "tick") || strings.HasSuffix(string(text), "0\r\n\r\n") {
				t.Errorf("the answer looks complete: %q", text)
			}
		}},
		{"the client leaves", "/ticks", func(_ *testing.T, c net.Conn) {
			_, _ = c.Read(make([]byte, 1000)) // the head, and perhaps more
			c.Close()
		}},
		{"the client does not read", "/flood", func(_ *testing.T, c net.Conn) { time.Sleep(200 * time.Millisecond) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, []string{"AWS_LAMBDA_FUNCTION_TIMEOUT=1"}, filepath.Join(programs, "bootstrap"))
			c, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, "GET "+tt.path+" HTTP/1.1\r\nHost: f\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			tt.read(t, c)
			if status, body := ask(t, f, "/string", ""); status != 200 || body != "Hello from Lambda!" {
				t.Errorf("after it: %d %s", status, body)
			}
			apptest.Eventually(t, time.Minute, "the log says why the runtime ended", func() bool { return strings.Contains(f.log(), "took more than 1s") })
		})
	}
}

// halves is a runtime that does not end what it sends.
const halves = `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
while :; do
	curl -sS -D headers -o event $api/invocation/next
	id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\([^[:space:]]*\).*/\1/ip' headers)
	case $(cat event) in
	*'"rawPath":"/head"'*) (printf '{"statusCode"'; exec sleep 60) | curl -sS -X POST -H 'Content-Type: application/vnd.awslambda.http-integration-response' -T - $api/invocation/$id/response ;;
	response | error) (printf half; exec sleep 60) | curl -sS -X POST -T - $api/invocation/$id/$(cat event) ;;
	idle) curl -sS -d answered $api/invocation/$id/response; sleep 60 ;;
	*) curl -sS -d '"ok"' $api/invocation/$id/response ;;
	esac
done
`

// The time of an invocation ends only when the runtime asks for the next: what is half sent by then has failed, and the runtime is ended.
func TestFunction_HalfAnAnswer(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(script, []byte(halves), 0o755); err != nil {
		t.Fatal(err)
	}
	f := start(t, []string{"AWS_LAMBDA_FUNCTION_TIMEOUT=1"}, script)
	if status, body := ask(t, f, "/head", ""); status != 504 || !strings.Contains(body, "Sandbox.Timedout") {
		t.Errorf("a stream whose head ends early: %d %s", status, body)
	}
	for _, tt := range []struct {
		event, want string
	}{
		{"response", "Sandbox.Timedout"},
		{"error", "Sandbox.Timedout"},
		{"idle", "answered"},
		{"x", `"ok"`},
	} {
		if status, body := ask(t, f, invokePath, tt.event); status != 200 || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %s", tt.event, status, body, tt.want)
		}
	}
}

// A request waits for its turn no longer than the call before it and the runtime's start may take.
func TestFunction_Wait(t *testing.T) {
	t.Parallel()
	f := start(t, []string{"AWS_LAMBDA_FUNCTION_TIMEOUT=1"}, filepath.Join(programs, "bootstrap"))
	var mu sync.Mutex
	got := map[int]int{}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			status, body := ask(t, f, "/sleep", "")
			if status == 503 && !strings.Contains(body, "busy") {
				t.Error(body)
			}
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	all.Wait()
	if got[504] == 0 || got[503] == 0 || got[504]+got[503] != 6 {
		t.Errorf("answers by status: %v", got)
	}
}
