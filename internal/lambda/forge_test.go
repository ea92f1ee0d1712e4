package lambda_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// Without the Invoke API a client's request is what the function is told of it, whatever path and body it has.
func TestFunction_NoInvokeAPI(t *testing.T) {
	t.Parallel()
	const forged = `{"version":"2.0","rawPath":"/admin","headers":{"x-user":"root"},"requestContext":{"http":{"sourceIp":"10.0.0.1"}}}`
	f := start(t, []string{"AWS_LAMBDA_INVOKE_API="}, filepath.Join(programs, "bootstrap"))
	check(t, f, row{"the Invoke API", "POST", invokePath, forged, []string{"X-Amz-Client-Context: %", "X-Amz-Invocation-Type: DryRun", "Content-Type: application/json"}, 200,
		[]string{`"rawPath":"` + invokePath + `"`, `"body":"{\"version\"`, `"sourceIp":"127.0.0.1"`}, ""})
	if resp, _ := f.send("GET", "/2018-06-01/ping", ""); resp.Header.Get("X-Gitd-Invoke-Api") != "" {
		t.Error("the health check tells of an Invoke API")
	}
	g := start(t, nil, filepath.Join(programs, "bootstrap"))
	if resp, _ := g.send("GET", "/2018-06-01/ping", ""); resp.Header.Get("X-Gitd-Invoke-Api") != "1" {
		t.Error("the health check does not tell of the Invoke API")
	}
}

// By its signature a function takes requests alone, or events alone.
func TestFunction_Signature(t *testing.T) {
	t.Parallel()
	event := []string{"Content-Type: application/cloudevents+json"}
	const text = `{"specversion":"1.0","id":"8","source":"/s","type":"t.a"}`
	requests := start(t, []string{"AWS_LAMBDA_INVOKE_API="}, "--signature", "http", "--", filepath.Join(programs, "bootstrap"))
	check(t, requests, row{"an event is a request", "POST", "/", text, event, 200, []string{`"rawPath":"/"`, `"body":"{\"specversion\"`}, ""})
	events := start(t, []string{"AWS_LAMBDA_INVOKE_API="}, "--signature", "cloudevent", "--", filepath.Join(programs, "bootstrap"))
	check(t, events, row{"an event", "POST", invokePath, text, event, 200, []string{`"id":"8"`}, ""})
	check(t, events, row{"a request is refused", "POST", "/", strings.ToUpper(text), nil, 400, []string{"this is no CloudEvent"}, ""})
}
