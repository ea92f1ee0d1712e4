package knative

import (
	"strings"
	"testing"
)

func TestFinishedLogs(t *testing.T) {
	var f finishedLogs
	lines := func(service, revision string) string {
		var all []string
		for _, l := range f.of(service, revision) {
			all = append(all, l.text)
		}
		return strings.Join(all, " ")
	}
	f.keep("a", "job.1", finishedLog{"a-v1", []logLine{{text: "one"}}})
	f.keep("a", "other.1", finishedLog{"a-v1", []logLine{{text: "two"}}})
	f.keep("b", "job.1", finishedLog{"b-v1", []logLine{{text: "b"}}})
	if got := lines("a", ""); len(got) != len("one two") {
		t.Errorf("of one release: %q", got)
	}
	if got := lines("a", "a-v2") + lines("c", ""); got != "" {
		t.Errorf("of what is not there: %q", got)
	}
	f.keep("a", "job.1", finishedLog{"a-v2", []logLine{{text: "three"}}})
	if got := lines("a", ""); got != "three" {
		t.Errorf("after the next release: %q", got)
	}
	f.keep("a", "job.1", finishedLog{"a-v2", []logLine{{text: strings.Repeat("x", finishedBytes)}, {text: "last"}}})
	if got := lines("a", "a-v2"); got != "last" {
		t.Errorf("of much: %d bytes", len(got))
	}
	f.drop("a")
	if got := lines("a", "") + lines("b", ""); got != "b" {
		t.Errorf("of a deleted one: %q", got)
	}
}
