package lambda_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// programs has gitd-lambda and the function that it runs.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gitd-lambda-")
	if err != nil {
		panic(err)
	}
	for name, pkg := range map[string]string{"gitd-lambda": "../../cmd/gitd-lambda", "bootstrap": "./testhandler"} {
		args := []string{"build", "-o", filepath.Join(dir, name), pkg}
		if name == "gitd-lambda" {
			args = slices.Insert(args, 1, "-race")
		}
		out, err := exec.Command("go", args...).CombinedOutput()
		if err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
	}
	programs = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// function is one that runs under gitd-lambda.
type function struct {
	t   *testing.T
	url string
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer
	end chan struct{}
}

func (f *function) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

// log is what the function and gitd-lambda have printed.
func (f *function) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}

var ports atomic.Int64

// freePort is a port that is free, below those that the system gives to the listeners and the connections of functions that run meanwhile.
func freePort() string {
	for {
		port := strconv.FormatInt(10000+(int64(os.Getpid())*31+ports.Add(1))%20000, 10)
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			return port
		}
	}
}

// launch starts gitd-lambda with a runtime. It does not wait for it.
func launch(t *testing.T, env []string, args ...string) *function {
	t.Helper()
	port := freePort()
	f := &function{t: t, url: "http://127.0.0.1:" + port, end: make(chan struct{})}
	f.cmd = exec.Command(filepath.Join(programs, "gitd-lambda"), args...)
	f.cmd.Dir = t.TempDir()
	f.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "PORT=" + port, "K_SERVICE=shop", "AWS_LAMBDA_INVOKE_API=1"}, env...)
	f.cmd.Stdout, f.cmd.Stderr = f, f
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = f.cmd.Wait(); close(f.end) }()
	t.Cleanup(func() {
		_ = f.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-f.end:
		case <-time.After(time.Minute):
			_ = f.cmd.Process.Kill()
			t.Errorf("it did not end at SIGTERM: %s", f.log())
		}
		if strings.Contains(f.log(), "DATA RACE") {
			t.Error(f.log())
		}
	})
	return f
}

// start starts gitd-lambda and waits until the function is loaded.
func start(t *testing.T, env []string, args ...string) *function {
	t.Helper()
	f := launch(t, env, args...)
	for {
		resp, err := http.Post(f.url+"/2015-03-31/functions/function/invocations", "", strings.NewReader(`{"do":"nothing"}`))
		if err == nil {
			resp.Body.Close()
			return f
		}
		select {
		case <-f.end:
			t.Fatalf("it ended: %s", f.log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// send sends a request: headers are "Name: value".
func (f *function) send(method, path, body string, headers ...string) (*http.Response, string) {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, string(text)
}

const invokePath = "/2015-03-31/functions/function/invocations"

// row is a request to a function and what must come of it.
type row struct {
	name, method, path, body string
	headers                  []string
	status                   int
	want                     []string // parts of the answer, a header as "Name: value"
	log                      string   // what must be printed
}

func check(t *testing.T, f *function, tt row) {
	t.Helper()
	resp, body := f.send(tt.method, tt.path, tt.body, tt.headers...)
	var all strings.Builder
	_ = resp.Header.Write(&all) // to memory
	all.WriteString("\r\n" + body)
	if resp.StatusCode != tt.status {
		t.Errorf("status %d, want %d: %.300s", resp.StatusCode, tt.status, body)
	}
	for _, w := range tt.want {
		if !strings.Contains(all.String(), w) {
			t.Errorf("the answer lacks %q: %.900s", w, all.String())
		}
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(f.log(), tt.log) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if !strings.Contains(f.log(), tt.log) {
		t.Errorf("the log lacks %q: %s", tt.log, f.log())
	}
}

// The cases of the runtime interface emulator, with a function that is built with aws-lambda-go, then those of HTTP and of events.
func TestFunction(t *testing.T) {
	t.Parallel()
	f := start(t, []string{"AWS_LAMBDA_FUNCTION_TIMEOUT=60", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "AWS_LAMBDA_FUNCTION_NAME=MyCoolName", "SUM=4=4"}, "--handler", "app.handler", filepath.Join(programs, "bootstrap"))
	invoke := func(name, body string, status int, want ...string) row {
		return row{name: name, method: "POST", path: invokePath, body: body, status: status, want: want}
	}
	get := func(name, path string, status int, want ...string) row {
		return row{name: name, method: "GET", path: path, status: status, want: want}
	}
	event := func(name, body string, status int, headers []string, want ...string) row {
		return row{name: name, method: "POST", path: "/", body: body, status: status, headers: headers, want: want}
	}
	binary := []string{"Ce-Specversion: 1.0", "Ce-Id: 7", "Ce-Source: /s", "Ce-Type: t.a", "Content-Type: application/json"}
	structured := []string{"Content-Type: application/cloudevents+json; charset=utf-8"}
	rows := []row{
		invoke("an event and its answer", `{"a":[1,"é"]}`, 200, `{"got":{"a":[1,"é"]}}`, "Content-Type: application/json", "X-Amz-Executed-Version: $LATEST"),
		invoke("an event that is no object", `"text"`, 200, `{"got":"text"}`),
		invoke("the function's error", `{"do":"error"}`, 200, "X-Amz-Function-Error: Unhandled", `"errorMessage":"it did not work"`, `"errorType":"errorString"`),
		invoke("an error's type", `{"do":"typed"}`, 200, `"errorType":"oops"`),
		invoke("a panic: the runtime ends, after it has told", `{"do":"panic"}`, 200, "X-Amz-Function-Error: Unhandled", `"errorMessage":"oh no"`, "stackTrace"),
		invoke("and is started again", `{"a":2}`, 200, `{"got":{"a":2}}`),
		invoke("the runtime dies", `{"do":"exit"}`, 502, "X-Amz-Function-Error: Unhandled", `"errorType":"Runtime.ExitError"`, "Runtime exited with error: exit status 3"),
		invoke("and is started again, once more", `{"a":3}`, 200, `{"got":{"a":3}}`),
		invoke("6 MiB", `"`+strings.Repeat("x", 6<<20-2)+`"`, 200, `{"got":"xxx`),
		invoke("one byte more", `"`+strings.Repeat("x", 6<<20-1)+`"`, 413, "RequestTooLarge"),
		invoke("an answer that is too large", `{"do":"large"}`, 200, "X-Amz-Function-Error: Unhandled", "Function.ResponseSizeTooLarge"),
		invoke("the environment", `{"do":"env"}`, 200, `"_HANDLER":"app.handler"`, `"AWS_LAMBDA_FUNCTION_NAME":"MyCoolName"`, `"SUM":"4=4"`, `"AWS_LAMBDA_FUNCTION_MEMORY_SIZE":"512"`, `"LAMBDA_TASK_ROOT":"`+f.cmd.Dir+`"`, `"PORT":""`),
		{"the client's context", "POST", invokePath, `{"do":"context"}`, []string{"X-Amz-Client-Context: eyJjdXN0b20iOnsiayI6InYifX0="}, 200, []string{`"client":"v"`, `"id":true`, `"left":60`, "function:MyCoolName"}, ""},
		{"one that is none", "POST", invokePath, `{}`, []string{"X-Amz-Client-Context: %"}, 400, []string{"InvalidParameterValueException"}, ""},
		{"a dry run", "POST", invokePath, `{"do":"exit"}`, []string{"X-Amz-Invocation-Type: DryRun"}, 204, nil, ""},
		{"an asynchronous call", "POST", invokePath, `{"do":"error"}`, []string{"X-Amz-Invocation-Type: Event"}, 202, nil, `it did not work`},
		{"an unknown type of call", "POST", invokePath, `{}`, []string{"X-Amz-Invocation-Type: Later"}, 400, []string{"DryRun"}, ""},

		{"a request", "POST", "/a%20b/c?x=1&x=2&y", `{"k":1}`, []string{"Content-Type: application/json", "Cookie: a=1; b=2", "X-Two: 1", "X-Two: 2", "X-Forwarded-For: 192.0.2.7, 10.0.0.1"}, 200, []string{
			`"version":"2.0"`, `"routeKey":"$default"`, `"rawPath":"/a%20b/c"`, `"rawQueryString":"x=1\u0026x=2\u0026y"`, `"cookies":["a=1","b=2"]`, `"x-two":"1,2"`,
			`"queryStringParameters":{"x":"1,2","y":""}`, `"body":"{\"k\":1}","isBase64Encoded":false`, `"method":"POST"`, `"sourceIp":"10.0.0.1"`, `"path":"/a b/c"`}, ""},
		{"a binary body", "PUT", "/", "\xff\x00", []string{"Content-Type: image/png"}, 200, []string{`"body":"/wA=","isBase64Encoded":true`}, ""},
		get("status, headers, cookies, a body in base64", "/full", 201, "Content-Type: image/png", "X-One: 1", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "\x89PNG"),
		get("a string", "/string", 200, "Content-Type: application/json", "\r\nHello from Lambda!"),
		get("the platform's check", "/2018-06-01/ping", 200, "\r\npong"),
		get("no answer", "/nothing", 200),
		get("a number", "/number", 200, "\r\n42"),
		get("a stream", "/stream", 202, "Content-Type: text/event-stream", "\r\ndata: 1\n\ndata: 2\n\n"),
		get("an error", "/error", 500, `{"message":"Internal Server Error","errorType":"errorString"}`),
		get("the runtime's end", "/exit", 502, `"errorType":"Runtime.ExitError"`),
		{"a status that is none", "GET", "/badstatus", "", nil, 502, []string{"InvalidResponse"}, `statusCode is "teapot", not a number from 200 to 599`},
		{"a header that is none", "GET", "/badheader", "", nil, 502, []string{"InvalidResponse"}, `the header "X-A" cannot be sent`},
		{"a long body", "POST", "/", strings.Repeat("x", 6<<20+1), nil, 413, []string{"6 MiB"}, ""},

		event("an event, binary", `{"n":1}`, 200, binary, `"id":"7"`, `"specversion":"1.0"`, `"data":{"n":1}`, `"datacontenttype":"application/json"`),
		event("an event, structured", `{"specversion":"1.0","id":"8","source":"/s","type":"t.a","data":{"n":2}}`, 200, structured, `{"got":{"data":{"n":2},"id":"8","source":"/s","specversion":"1.0","type":"t.a"}}`),
		event("2 MB", `{"specversion":"1.0","id":"9","source":"/s","type":"t.a","data":"`+strings.Repeat("x", 2<<20)+`"}`, 200, structured, `"id":"9"`),
		event("a reply", `{"specversion":"1.0","id":"8","source":"/s","type":"t.a","do":"reply"}`, 200, structured, "Content-Type: application/cloudevents+json", `"type":"t.reply"`),
		event("nothing", `{"specversion":"1.0","id":"8","source":"/s","type":"t.a","do":"nothing"}`, 204, structured),
		{"a broker gets no answer that is no event", "POST", "/", `{"n":1}`, append([]string{"Prefer: reply"}, binary...), 204, nil, "dropped: it is no CloudEvent: specversion is missing"},
		event("an event whose function fails", `{"specversion":"1.0","id":"8","source":"/s","type":"t.a","do":"error"}`, 500, structured, "errorString"),
		event("a batch", `[]`, 415, []string{"Content-Type: application/cloudevents-batch+json"}, "one by one"),
		event("an unknown format", `<e/>`, 415, []string{"Content-Type: application/cloudevents+xml"}, "send application/cloudevents+json"),
		event("no id", `{}`, 400, []string{"Ce-Specversion: 1.0", "Ce-Source: /s", "Ce-Type: t"}, "id is missing"),
		event("no type", `{"specversion":"1.0","id":"8","source":"/s"}`, 400, structured, "type is missing"),
		event("another version", `{"specversion":"2.0","id":"8","source":"/s","type":"t"}`, 400, structured, `specversion is \"2.0\"`),
		event("no JSON", `{`, 400, structured, "not a JSON object"),
		{"an event comes by POST", "GET", "/", "", binary, 405, []string{"Allow: POST"}, ""},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) { check(t, f, tt) })
	}
}

// A function that does not answer in time is ended and started again.
func TestFunction_Timeout(t *testing.T) {
	t.Parallel()
	f := start(t, []string{"AWS_LAMBDA_FUNCTION_TIMEOUT=1"}, filepath.Join(programs, "bootstrap"))
	for _, tt := range []row{
		{"a call", "POST", invokePath, `{"do":"sleep"}`, nil, 200, []string{"X-Amz-Function-Error: Unhandled", "Task timed out after 1.00 seconds", "Sandbox.Timedout"}, ""},
		{"after it", "POST", invokePath, `{"a":4}`, nil, 200, []string{`{"got":{"a":4}}`}, "the runtime ended (signal: killed) and is started again"},
		{"a request", "GET", "/sleep", "", nil, 504, []string{`"errorType":"Sandbox.Timedout"`}, ""},
	} {
		check(t, f, tt)
	}
}

// A function takes one request at a time.
func TestFunction_OneAtATime(t *testing.T) {
	t.Parallel()
	f := start(t, nil, filepath.Join(programs, "bootstrap"))
	began := time.Now()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if resp, body := f.send("GET", "/brief", ""); resp.StatusCode != 200 || body != "rested" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took < 1200*time.Millisecond {
		t.Errorf("four calls of 0.3 s took %v", took)
	}
}

// At SIGTERM the call under way is answered, the runtime gets the signal, and the program ends well.
func TestFunction_Stop(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(script, []byte(bootstrap), 0o755); err != nil {
		t.Fatal(err)
	}
	f := start(t, nil, script)
	answered := make(chan string)
	go func() {
		_, body := f.send("POST", invokePath, "slow")
		answered <- body
	}()
	for !strings.Contains(f.log(), "working") {
		time.Sleep(5 * time.Millisecond)
	}
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if body := <-answered; body != "ECHO slow" {
		t.Errorf("got %q", body)
	}
	<-f.end
	if !f.cmd.ProcessState.Success() || !strings.Contains(f.log(), "got SIGTERM") {
		t.Errorf("%v: %s", f.cmd.ProcessState, f.log())
	}
}

// bootstrap is a runtime in the shell.
const bootstrap = `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
trap 'echo got SIGTERM; exit 0' TERM
while :; do
	curl -sS -D headers -o event $api/invocation/next &
	wait $!
	id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\([^[:space:]]*\).*/\1/ip' headers)
	[ -n "$id" ] || exit 1
	case $(cat event) in
	slow) echo working; sleep 0.5 ;;
	twice) curl -sS -o twice -w 'next twice: %{http_code}\n' $api/invocation/next; cat twice ;;
	mode) curl -sS -w ' mode: %{http_code}\n' -H 'Lambda-Runtime-Function-Response-Mode: odd' -d x $api/invocation/$id/response ;;
	other) curl -sS -w ' other: %{http_code}\n' -d x $api/invocation/other/response ;;
	init) curl -sS -w ' init: %{http_code}\n' -d '{}' $api/init/error ;;
	bare) curl -sS -w ' bare: %{http_code}\n' -X POST $api/invocation/$id/error; continue ;;
	esac
	curl -sS -o done -w 'done: %{http_code}\n' -H 'Content-Type: text/plain' -d "ECHO $(cat event)" $api/invocation/$id/response
	curl -sS -w ' again: %{http_code}\n' -d x $api/invocation/$id/response
done
`

// What the runtime API says to a runtime that does not keep to the order.
func TestRuntimeAPI(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(script, []byte(bootstrap), 0o755); err != nil {
		t.Fatal(err)
	}
	f := start(t, nil, script)
	for _, tt := range []row{
		{"an answer of any type", "POST", invokePath, "hello", nil, 200, []string{"Content-Type: text/plain", "\r\nECHO hello"}, "done: 202"},
		{"a second answer", "POST", invokePath, "x", nil, 200, nil, `"errorType":"InvalidStateTransition"}` + "\n again: 403"},
		{"the next before an answer", "POST", invokePath, "twice", nil, 200, []string{"ECHO twice"}, "next twice: 200\ntwice"},
		{"an unknown mode", "POST", invokePath, "mode", nil, 200, []string{"X-Amz-Function-Error: Unhandled", "Runtime.InvalidResponseModeHeader"}, "mode: 400"},
		{"an unknown ID", "POST", invokePath, "other", nil, 200, []string{"ECHO other"}, "other: 400"},
		{"an error of the initialization, too late", "POST", invokePath, "init", nil, 200, []string{"ECHO init"}, "init: 403"},
		{"an error without a word", "POST", invokePath, "bare", nil, 200, []string{"X-Amz-Function-Error: Unhandled", "Runtime.Unknown"}, "bare: 202"},
	} {
		t.Run(tt.name, func(t *testing.T) { check(t, f, tt) })
	}
}

// What cannot be loaded ends the program, and says why.
func TestRun_Errors(t *testing.T) {
	t.Parallel()
	once := filepath.Join(t.TempDir(), "once")
	tell := `curl -sS -H 'Lambda-Runtime-Function-Error-Type: Runtime.ImportModuleError' -d '{"errorMessage":"no module app","errorType":"x"}' http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/init/error; sleep 30`
	for _, tt := range []struct {
		name string
		env  []string
		args []string
		call string
		want string
	}{
		{"a panic", []string{"TEST_INIT=panic"}, []string{filepath.Join(programs, "bootstrap")}, "", "ended before it asked for an invocation: exit status 2"},
		{"told by the runtime", nil, []string{"sh", "-c", tell}, "", "the function could not be loaded: Runtime.ImportModuleError: no module app"},
		{"no program", nil, []string{"/nowhere"}, "", "the runtime cannot be started: fork/exec /nowhere: no such file or directory"},
		{"each start after the first", []string{"TEST_INIT_ONCE=" + once}, []string{filepath.Join(programs, "bootstrap")}, `{"do":"exit"}`, "ended before it asked for an invocation: exit status 7"},
		{"a signature", nil, []string{"--signature=event", "true"}, "", `--signature is http or cloudevent, not "event"`},
		{"a flag", nil, []string{"--memory", "1", "true"}, "", "there is no --memory"},
		{"nothing to run", nil, []string{"--handler", "a.b"}, "", "no program"},
		{"an Invoke API", []string{"AWS_LAMBDA_INVOKE_API=yes"}, []string{"true"}, "", "AWS_LAMBDA_INVOKE_API is"},
		{"a time", []string{"AWS_LAMBDA_FUNCTION_TIMEOUT=1h"}, []string{"true"}, "", "a number of seconds from 1 to 900"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := launch(t, tt.env, tt.args...)
			for called := tt.call == ""; !called; time.Sleep(10 * time.Millisecond) {
				resp, err := http.Post(f.url+invokePath, "", strings.NewReader(tt.call))
				if called = err == nil; called {
					resp.Body.Close()
				}
			}
			select {
			case <-f.end:
			case <-time.After(time.Minute):
				t.Fatalf("it runs on: %s", f.log())
			}
			if f.cmd.ProcessState.Success() || !strings.Contains(f.log(), tt.want) {
				t.Errorf("%v: %s", f.cmd.ProcessState, f.log())
			}
		})
	}
}
