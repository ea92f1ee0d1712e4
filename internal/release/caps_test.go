package release

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
)

// files is a source with some files at its root.
type files map[string]string

func (files) Checkout(context.Context, string, int, int) error { return nil }
func (f files) ReadFile(name string, _ int64) ([]byte, error) {
	if text, ok := f[name]; ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// An ordinary key asks for more than the operator lets apps have: it is refused in words, before anything is built.
func TestAttack_Caps(t *testing.T) {
	built := 0
	m := newMachine(t, builderFunc(func(context.Context, build.Request) (*build.Result, error) {
		built++
		return nil, app.Errorf(app.CodeBuildFailed, "none", "it was built")
	}), func(o *Options) {
		o.Caps = Caps{Memory: 1 << 30, CPU: 2000, Scale: 20, MinScale: 3, KeyMemory: 1 << 30}
	})
	m.o.Store.AppsPerKey = 2
	if err := m.o.Store.AddKey(t.Context(), app.Key{Name: "dev", Fingerprint: "f"}); err != nil {
		t.Fatal(err)
	}
	dev, err := m.o.Store.KeyByName(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	pushFiles := func(name string, f files) error {
		_, err := m.Deploy(t.Context(), app.Push{App: name, By: app.Caller{Key: dev}, Ref: "refs/heads/main", Commit: "c", Source: f, Log: app.NewLog(&strings.Builder{}), Started: time.Now()})
		return err
	}
	for _, tt := range []struct{ name, web, procfile, words string }{
		{"Within", "memory = \"512Mi\"\ncpu = \"2\"\nmax-scale = 20\nmin-scale = 2", "", "it was built"},
		{"NoBound", "max-scale = 0", "", "it was built"},
		{"Memory", "memory = \"2Gi\"", "", `memory = "2Gi" is more than this server gives an instance: 1Gi`},
		{"CPU", "cpu = \"2001m\"", "", `cpu = "2001m" is more than`},
		{"MaxScale", "max-scale = 1000", "", "max-scale = 1000 is more than this server gives an app: 20"},
		{"MinScale", "min-scale = 4\nmemory = \"16Mi\"", "", "4 instances that always run"},
		{"Workers", "min-scale = 1\nmemory = \"64Mi\"", "a: x\nb: x\nc: x\nweb: x\n", "4 instances that always run"},
		{"Together", "min-scale = 3\nmemory = \"512Mi\"", "", `of all apps of the key "dev", would take 1536Mi, more than 1Gi`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built = 0
			f := files{"project.toml": "[_]\nschema-version = \"0.2\"\n[io.gitd.web]\n" + tt.web + "\n"}
			if tt.procfile != "" {
				f["Procfile"] = tt.procfile
			}
			err := pushFiles("hello", f)
			if err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Fatalf("%v, want %s", err, tt.words)
			}
			if want := tt.words == "it was built"; want != (built == 1) || !want && app.CodeOf(err) != app.CodeLimitExceeded {
				t.Errorf("%d builds, %s", built, app.CodeOf(err))
			}
		})
	}
	if err := pushFiles("second", files{}); app.CodeOf(err) != app.CodeBuildFailed {
		t.Error(err)
	}
	if err := pushFiles("third", files{}); app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), `the key "dev" owns 2 apps already`) {
		t.Error(err)
	}
}

// An app that says nothing about its instances is bounded by the cap, also where that is below the default, and not refused for it.
func TestCapBelowDefault(t *testing.T) {
	m := &Machine{o: Options{Caps: Caps{Scale: 5}}}
	for text, want := range map[string]int64{"": 5, "max-scale = 0": 5, "max-scale = 4": 4, "max-scale = 5": 5} {
		d, err := project.Parse("[io.gitd.web]\n" + text + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.checkCaps(t.Context(), app.Release{}, &d, nil, nil); err != nil || d.Web.MaxScale != want {
			t.Errorf("%q: %d, %v; want %d", text, d.Web.MaxScale, err, want)
		}
	}
}

// TestReserved: what the other apps of a key reserve is read once for a Service, and is that of what is live now.
func TestReserved(t *testing.T) {
	m := newMachine(t, nil, nil)
	ids := map[string]int64{}
	for _, name := range []string{"hello", "other", "third"} {
		a, err := m.o.Store.CreateApp(t.Context(), name, "dev")
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = a.ID
	}
	live := func(name string, instances int) {
		t.Helper()
		r, err := m.o.Store.Enter(t.Context(), app.Root, app.Release{App: name, AppID: ids[name], Commit: "c", Ref: "refs/heads/main"})
		if err != nil {
			t.Fatal(err)
		}
		service := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"autoscaling.knative.dev/min-scale":"%d"}},"spec":{"containers":[{"resources":{"limits":{"memory":"1Ki"}}}]}}}}`, instances)
		for _, e := range []store.Event{{State: app.StateStarting, Revision: "x", Service: []byte(service)}, {State: app.StateLive}} {
			if err := m.o.Store.AddEvent(t.Context(), name, r.Version, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(kib int64) {
		t.Helper()
		owner, bytes, err := m.reserved(t.Context(), app.Release{App: "hello", AppID: ids["hello"]})
		if err != nil || owner != "dev" || bytes != kib<<10 {
			t.Errorf("%q, %d bytes, %v; want %d KiB", owner, bytes, err, kib)
		}
	}
	want(0)
	live("hello", 100)
	live("other", 2)
	live("third", 3)
	want(5)
	read := len(m.reserves.bytes)
	want(5)
	if n := len(m.reserves.bytes); n != read || n != 2 {
		t.Errorf("%d Services are remembered, before %d", n, read)
	}
	live("other", 7)
	want(10)
	for id := range m.reserves.bytes { // what is remembered is what is asked
		m.reserves.bytes[id] = 1 << 10
	}
	want(2)
}
