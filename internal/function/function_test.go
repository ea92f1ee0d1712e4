package function_test

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/function"
)

func TestSet(t *testing.T) {
	annotations := map[string]string{"other": "kept"}
	want := function.Spec{Contract: function.Knative, Language: "python", Target: "new", Signature: function.CloudEvent, Concurrency: 7, Health: "/health/readiness"}
	if err := function.Set(annotations, &want); err != nil {
		t.Fatal(err)
	}
	if got, err := function.Of(annotations); err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := function.Set(annotations, nil); err != nil || len(annotations) != 1 {
		t.Errorf("%v, %v", annotations, err)
	}
	if got, err := function.Of(annotations); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// A label is written by a build, which is not trusted.
func TestParse_Hostile(t *testing.T) {
	for text, want := range map[string]string{
		"{":                           "cannot be read",
		`{"target": 1}`:               "cannot be read",
		strings.Repeat(" ", 5000):     "more than 4096 bytes",
		`{"target": "a\nb"}`:          "cannot be printed",
		`{"target": "\u001b[31mred"}`: "cannot be printed",
		`{"target": "` + strings.Repeat("x", 201) + `"}`: "too long",
		`{"concurrency": -1}`:                            "concurrency of -1",
		`{"concurrency": 1001}`:                          "concurrency of 1001",
		`{"health": "http://other/"}`:                    "begin with /",
	} {
		if got, err := function.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %+v, %v", text, got, err)
		}
	}
}
