package event

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	reference "github.com/cloudevents/sdk-go/sql/v2/parser"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"sigs.k8s.io/yaml"
)

// sampleEvents are what expressions are compared on: all of their attributes are texts, as they come in binary mode.
var sampleEvents = []Event{
	{ID: "1", Source: "/s", Type: "order.created"},
	{ID: "myId", Source: "localhost.localdomain", Type: "com.github.push", Subject: "mySubject", ContentType: "text/json", Schema: "http://example.com/schema", Time: "2020-03-21T12:34:56Z",
		Extensions: map[string]string{"n": "4", "mybool": "true", "myint": "10", "firstname": "Francesco", "sequence": "5", "hop": "five", "exttime": "x", "10abc": "y"}},
}

// value is what an expression has for an event, in words.
func value(text string, e *Event) string {
	x, err := parseCESQL(text)
	if err != nil {
		return "none"
	}
	v, err := x(evaluate(e))
	if err != nil {
		return "none"
	}
	return fmt.Sprintf("%T %v", v, v)
}

// referenceValue is value by CloudEvents' own library.
func referenceValue(t *testing.T, text string, e *Event) (v string) {
	t.Helper()
	defer func() {
		if recover() != nil { // it panics for some
			v = "none"
		}
	}()
	o := cloudevents.NewEvent()
	for _, name := range e.Attributes() {
		a, _ := e.Attribute(name)
		switch name {
		case "specversion":
		case "id":
			o.SetID(a)
		case "source":
			o.SetSource(a)
		case "type":
			o.SetType(a)
		case "subject":
			o.SetSubject(a)
		case "datacontenttype":
			o.SetDataContentType(a)
		case "dataschema":
			o.SetDataSchema(a)
		case "time":
			at, err := time.Parse(time.RFC3339, a)
			if err != nil {
				t.Fatal(err)
			}
			o.SetTime(at)
		default:
			o.SetExtension(name, a)
		}
	}
	x, err := reference.Parse(text)
	if err != nil {
		return "none"
	}
	got, err := x.Evaluate(o)
	if err != nil {
		return "none"
	}
	return fmt.Sprintf("%T %v", got, got)
}

// The expressions of CloudEvents' own conformance tests have the same values as by its library.
func TestCESQL_Conformance(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudevents/sdk-go/sql/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "test/tck/*.yaml"))
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tests struct {
			Tests []struct{ Name, Expression string }
		}
		if err := yaml.Unmarshal(text, &tests); err != nil {
			t.Fatal(err)
		}
		for _, c := range tests.Tests {
			n++
			for i := range sampleEvents {
				if got, want := value(c.Expression, &sampleEvents[i]), referenceValue(t, c.Expression, &sampleEvents[i]); got != want {
					t.Errorf("%s: %s of event %d: %s, want %s", filepath.Base(file), c.Expression, i, got, want)
				}
			}
		}
	}
	if n < 150 {
		t.Errorf("%d expressions", n)
	}
}

// How operators bind, and what is refused.
func TestCESQL(t *testing.T) {
	e := &sampleEvents[1]
	for text, want := range map[string]string{
		"1 + 2 * 3 = 7":                       "bool true",
		"(1 + 2) * 3":                         "int32 9",
		"10 - 4 - 3":                          "int32 3",
		"1+2":                                 "int32 3",
		"10-4-3":                              "int32 3",
		"2*3-1":                               "int32 5",
		"n + 1 > 4 AND firstname LIKE 'Fr%'":  "bool true",
		"NOT EXISTS nothing":                  "bool true",
		"type NOT IN ('a', 'b')":              "bool true",
		"nothing = 'x' OR TRUE":               "none",
		"TRUE OR nothing = 'x'":               "bool true",
		"FALSE AND nothing = 'x'":             "bool false",
		"'a''b' = 'x'":                        "bool false",
		"-n":                                  "int32 -4",
		"10abc":                               "string y",
		"1 / 0":                               "none",
		"LIKE 'a'":                            "none",
		"type LIKE firstname":                 "none",
		"type IN ()":                          "none",
		"type = = 'x'":                        "none",
		"type 'x'":                            "none",
		"#":                                   "none",
		strings.Repeat("(", 2000):             "none",
		strings.Repeat("NOT ", 2000) + "TRUE": "none",
	} {
		if got := value(text, e); got != want {
			t.Errorf("%.60s: %s, want %s", text, got, want)
		}
	}
}

func FuzzCESQL(f *testing.F) {
	for _, text := range []string{"a LIKE 'b%' AND n > 3", "SUBSTRING('abc', -2, 1) = LEFT(subject, 2)", "x IN (1, 'a', TRUE) XOR NOT EXISTS y"} {
		f.Add(text)
	}
	for _, text := range costly() {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		m, err := compileCESQL(text)
		if err == nil {
			m(evaluate(&sampleEvents[1]))
			m(evaluate(costlyEvent()))
		}
	})
}
