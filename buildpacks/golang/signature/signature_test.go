package signature_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
)

func read(t testing.TB, files map[string]string) *signature.Package {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := signature.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFunc(t *testing.T) {
	const imports = `package p
import (
	"context"
	"net/http"
	web "net/http"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	. "github.com/cloudevents/sdk-go/v2/protocol"
)
type Mine = event.Event
type Answer = *Mine
`
	for text, want := range map[string]string{
		"(w http.ResponseWriter, r *http.Request)":                      "http",
		"(web.ResponseWriter, *web.Request)":                            "http",
		"(w http.ResponseWriter, r *http.Request) error":                "",
		"(w http.ResponseWriter, r http.Request)":                       "",
		"(ctx context.Context, w http.ResponseWriter, r *http.Request)": "http-context",
		"()":                                  "any lambda",
		"() error":                            "any lambda",
		"(context.Context)":                   "any lambda",
		"(e event.Event)":                     "event lambda",
		"(e cloudevents.Event) error":         "event lambda",
		"(ctx context.Context, e Mine) error": "event lambda",
		"(ctx context.Context, e event.Event) *event.Event":                             "event",
		"(ctx context.Context, e event.Event) (*cloudevents.Event, cloudevents.Result)": "event lambda",
		"(e Mine) (r Answer, err Result)":                                               "event lambda",
		"(e event.Event) (error, *event.Event)":                                         "",
		"(e event.Event, ctx context.Context)":                                          "",
		"(a, b event.Event)":                                                            "",
		"(e *event.Event)":                                                              "lambda",
		"(ctx context.Context, m struct{ Data []byte }) error":                          "background lambda",
		"(ctx context.Context, in map[string]any) (string, error)":                      "lambda",
		"(in int) string":                                                               "",
		"(a ...string) error":                                                           "",
		"[T any](e T) error":                                                            "",
		"(ctx context.Context, a, b int) error":                                         "",
	} {
		p := read(t, map[string]string{"f.go": imports + "func Handle" + text + " { panic(0) }\n"})
		f := p.Func("Handle")
		if f == nil {
			t.Fatalf("%s: not found", text)
		}
		var got []string
		add := func(name string, is bool) {
			if is {
				got = append(got, name)
			}
		}
		c, ok := f.CloudEvent()
		add("http", f.HTTP())
		add("http-context", f.HTTPContext())
		add("event", f.TakesEvent())
		add("any", ok && !c.Event)
		add("background", f.Background())
		add("lambda", f.Lambda())
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if f.Line != 12 || f.File != "f.go" || !strings.HasPrefix(f.Text, "func Handle") || strings.Contains(f.Text, "panic") {
			t.Errorf("%s: %s:%d %s", text, f.File, f.Line, f.Text)
		}
	}
}

func TestRead(t *testing.T) {
	p := read(t, map[string]string{
		"a.go": `// Package hello is.
package hello

import "github.com/GoogleCloudPlatform/functions-framework-go/functions"

func init() {
	functions.HTTP("Hello", hello)
	functions.CloudEvent(name, nil)
}

type F struct{}

func New() *F { return &F{} }

// Handle is.
func (f *F) Handle() {}
func (F) unexported() {}
`,
		"b.go":         "package hello\nimport fn \"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\nvar _ = fn.Typed(`T`, 1)\n",
		"a_test.go":    "package hello\nfunc Test() {}\n",
		"a_windows.go": "package hello\nfunc Windows() {}\n",
	})
	if len(p.Registered) != 3 || p.Registered[0] != (signature.Registration{Target: "Hello", Signature: "http", File: "a.go", Line: 7}) ||
		p.Registered[1].Target != "" || p.Registered[2] != (signature.Registration{Target: "T", Signature: "typed", File: "b.go", Line: 3}) {
		t.Errorf("registered %+v", p.Registered)
	}
	if p.Name != "hello" || p.Main || len(p.Funcs) != 1 || p.Results["New"] != "F" || p.Method("F", "Handle") == nil || p.Method("F", "Start") != nil {
		t.Errorf("%+v", p)
	}
	if p := read(t, map[string]string{"main.go": "package main\nimport \"github.com/aws/aws-lambda-go/lambda\"\nfunc main() {\n\tlambda.StartWithOptions(nil)\n}\n"}); !p.Main || p.Starts.Line != 4 {
		t.Errorf("%+v", p)
	}
	if p := read(t, map[string]string{"x.py": ""}); p != nil {
		t.Errorf("%+v", p)
	}
	if p := read(t, map[string]string{"x.go": "package x\nfunc Good() {}\nfunc Bad( {\n"}); p.Func("Good") == nil {
		t.Errorf("of a file with an error: %+v", p)
	}
}

// Whatever a file has, reading it ends and does not panic.
func FuzzRead(f *testing.F) {
	f.Add("package p\nfunc Handle(w http.ResponseWriter, r *http.Request) {}\n")
	f.Add("package p\ntype A = A\nfunc H(a A) (b *A, err error) {}\n")
	f.Add("package p\nfunc (t T[int]) M() {}\nfunc () N() {}\nvar _ = f[g](h)\n")
	f.Fuzz(func(t *testing.T, text string) { read(t, map[string]string{"f.go": text}) })
}
