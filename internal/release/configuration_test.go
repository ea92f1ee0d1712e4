package release

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/secret"
)

// withConfig is a machine with configurations, and the app hello, of which nothing is live. Its builds go to seen, and fail.
func withConfig(t *testing.T, seen chan build.Request) *Machine {
	t.Helper()
	m := newMachine(t, builderFunc(func(_ context.Context, r build.Request) (*build.Result, error) {
		seen <- r
		return nil, app.Errorf(app.CodeBuildFailed, "", "it ends here")
	}), func(o *Options) { o.Config = secret.New(o.Store, filepath.Join(t.TempDir(), "key")) })
	if _, err := m.o.Store.CreateApp(t.Context(), "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	return m
}

func configure(m *Machine, name string, c ConfigChange) (Configured, error) {
	return m.Configure(context.Background(), app.Root, name, c, app.NewLog(new(strings.Builder)))
}

func mustConfigure(t *testing.T, m *Machine, name string, c ConfigChange) int {
	t.Helper()
	done, err := configure(m, name, c)
	if err != nil || !done.Changed || !done.Staged {
		t.Fatalf("%+v, %v", done, err)
	}
	return done.Version
}

func set(pairs ...string) secret.Values {
	v := secret.Values{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		v[name] = []byte(value)
	}
	return v
}

// mustHave checks the current configuration: NAME=VALUE, or NAME=VALUE:build, :preview.
func mustHave(t *testing.T, m *Machine, name string, want ...string) {
	t.Helper()
	a, err := m.o.Store.App(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.o.Store.CurrentConfiguration(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	values, err := m.o.Config.Open(name, c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range c.Variables {
		one := v.Name + "=" + string(values[v.Name])
		if v.Build {
			one += ":build"
		}
		if v.Preview {
			one += ":preview"
		}
		if v.From != "" {
			one += " from " + v.From
		}
		got = append(got, one)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") || len(values) != len(want) {
		t.Errorf("%s has %q, want %q", name, got, want)
	}
}

func TestConfigure(t *testing.T) {
	m := withConfig(t, nil)
	yes, no := true, false
	first := mustConfigure(t, m, "hello", ConfigChange{Set: set("A=1", "B=2")})
	mustHave(t, m, "hello", "A=1", "B=2")
	mustConfigure(t, m, "hello", ConfigChange{Set: set("C="), Unset: []string{"A"}, Stage: true})
	mustHave(t, m, "hello", "B=2", "C=")
	mustConfigure(t, m, "hello", ConfigChange{Mark: []string{"B"}, Build: &yes})
	mustConfigure(t, m, "hello", ConfigChange{Set: set("B=3", "D=4"), Preview: &yes})
	mustHave(t, m, "hello", "B=3:build:preview", "C=", "D=4:preview")
	mustConfigure(t, m, "hello", ConfigChange{Mark: []string{"B"}, Build: &no, Preview: &no})
	mustConfigure(t, m, "hello", ConfigChange{Set: set("D=5", "E=6"), Reset: true})
	mustHave(t, m, "hello", "D=5:preview", "E=6")
	for _, c := range []ConfigChange{{Set: set("E=6")}, {Set: set("E=6"), Stage: true}, {Set: set("D=5", "E=6"), Reset: true}, {Mark: []string{"D"}, Preview: &yes}} {
		if done, err := configure(m, "hello", c); err != nil || done.Changed {
			t.Errorf("%+v changes something: %+v, %v", c, done, err)
		}
	}
	for name, c := range map[string]struct {
		change ConfigChange
		code   app.Code
	}{
		"unset what is not there": {ConfigChange{Unset: []string{"A"}}, app.CodeNotFound},
		"mark what is not there":  {ConfigChange{Mark: []string{"A"}, Build: &yes}, app.CodeNotFound},
		"an older version":        {ConfigChange{Set: set("X=1"), IfVersion: first}, app.CodeExists},
		"a version to come":       {ConfigChange{Set: set("X=1"), IfVersion: 99}, app.CodeExists},
		"reserved":                {ConfigChange{Set: set("PORT=1")}, app.CodeInvalidName},
		"too large":               {ConfigChange{Set: set("X=" + strings.Repeat("x", 200_000))}, app.CodeLimitExceeded},
	} {
		if _, err := configure(m, "hello", c.change); app.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustHave(t, m, "hello", "D=5:preview", "E=6")
	if _, err := configure(m, "nowhere", ConfigChange{Set: set("A=1")}); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("of an app that does not exist: %v", err)
	}
}

// Of two changes at once, the second is made on top of the first, unless both are about one variable: then it is told so.
func TestConfigure_twoAtOnce(t *testing.T) {
	m := withConfig(t, nil)
	mustConfigure(t, m, "hello", ConfigChange{Set: set("A=1", "B=1")})
	between := func(c ConfigChange) error { // c is asked for, and waits; meanwhile A changes
		unlock := m.configuring.Lock("hello")
		ended := make(chan error, 1)
		told := &signalled{at: "Waiting", seen: make(chan struct{})}
		go func() {
			_, err := m.Configure(context.Background(), app.Root, "hello", c, app.NewLog(told))
			ended <- err
		}()
		<-told.seen
		a, err := m.o.Store.App(t.Context(), "hello")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.o.Config.Add(t.Context(), a, "ann", []app.Variable{{Name: "A"}, {Name: "B"}}, set("A="+time.Now().String(), "B=1"), true); err != nil {
			t.Fatal(err)
		}
		unlock()
		return <-ended
	}
	if err := between(ConfigChange{Set: set("B=2")}); err != nil {
		t.Errorf("another variable: %v", err)
	}
	if err := between(ConfigChange{Set: set("A=2")}); app.CodeOf(err) != app.CodeExists || !strings.Contains(err.Error(), "ann has changed A of hello meanwhile") {
		t.Errorf("the same variable: %v", err)
	}
	if err := between(ConfigChange{Unset: []string{"A"}, Stage: true}); app.CodeOf(err) != app.CodeExists {
		t.Errorf("the same variable: %v", err)
	}
}

// signalled says when something was written.
type signalled struct {
	at   string
	seen chan struct{}
}

func (s *signalled) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.at) {
		close(s.seen)
		s.at = "\x00"
	}
	return len(b), nil
}

// sourceWith is a source that has a project.toml.
type sourceWith string

func (sourceWith) Checkout(context.Context, string, int, int) error { return nil }
func (s sourceWith) ReadFile(name string, _ int64) ([]byte, error) {
	if name != "project.toml" {
		return nil, fs.ErrNotExist
	}
	return []byte(s), nil
}

func pushWith(m *Machine, toml string, mode app.Mode) (string, error) {
	var log strings.Builder
	_, err := m.Deploy(context.Background(), app.Push{App: "hello", By: app.Root, Ref: "refs/heads/main", Commit: strings.Repeat("c", 40), Mode: mode, Source: sourceWith(toml),
		Log: app.NewLog(&log), Started: time.Now()})
	return log.String(), err
}

// What project.toml declares is there before anything is built; builds see what is marked for them.
func TestPush_declaredConfiguration(t *testing.T) {
	seen := make(chan build.Request, 10)
	m := withConfig(t, seen)
	const toml = `[io.gitd.config]
DATABASE_URL = { required = true, description = "where the data is" }
SESSION_KEY = { generate = "hex32" }
LEVEL = { default = "info" }
`
	told, err := pushWith(m, toml, app.ModeLive)
	_, next := app.Explain(err)
	if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "DATABASE_URL") || !strings.Contains(next, "gitd config set hello DATABASE_URL=") ||
		!strings.Contains(told, "where the data is") || len(seen) != 0 {
		t.Errorf("%v, next %q, told %q, %d builds", err, next, told, len(seen))
	}
	yes := true
	mustConfigure(t, m, "hello", ConfigChange{Set: set("DATABASE_URL=postgres:planted", "TOKEN=t")})
	mustConfigure(t, m, "hello", ConfigChange{Mark: []string{"TOKEN"}, Build: &yes})
	if _, err := pushWith(m, toml, app.ModeDryRun); app.CodeOf(err) != app.CodeBuildFailed {
		t.Error(err)
	}
	mustHave(t, m, "hello", "DATABASE_URL=postgres:planted", "TOKEN=t:build")
	for range 2 { // the second push generates nothing more
		if _, err := pushWith(m, toml, app.ModeLive); app.CodeOf(err) != app.CodeBuildFailed {
			t.Error(err)
		}
	}
	for range 3 {
		r := <-seen
		if len(r.Secrets) != 1 || string(r.Secrets["TOKEN"]) != "t" || len(r.Env) != 0 {
			t.Errorf("the build sees %q and %q", r.Secrets, r.Env)
		}
	}
	a, err := m.o.Store.App(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.o.Store.CurrentConfiguration(t.Context(), a.ID)
	if err != nil || c.Version != 3 {
		t.Fatalf("version %d, %v", c.Version, err)
	}
	values, err := m.o.Config.Open("hello", c)
	if key := values["SESSION_KEY"]; err != nil || len(key) != 64 || strings.Trim(string(key), "0123456789abcdef") != "" {
		t.Errorf("generated %q, %v", key, err)
	}
}

// A preview has the variables of its app that are marked for it, and its own before those.
func TestPush_previewConfiguration(t *testing.T) {
	seen := make(chan build.Request, 10)
	m := withConfig(t, seen)
	m.o.Caps.Previews = 5
	yes, no := true, false
	pushBranch := func() {
		t.Helper()
		_, err := m.Deploy(context.Background(), app.Push{App: "hello", AppID: 1, Branch: "try", By: app.Root, Ref: "refs/heads/try", Commit: strings.Repeat("c", 40), Source: noSource{},
			Log: app.NewLog(new(strings.Builder)), Started: time.Now()})
		if app.CodeOf(err) != app.CodeBuildFailed {
			t.Fatal(err)
		}
		<-seen
	}
	preview := app.PreviewName("hello", "try", false)
	mustConfigure(t, m, "hello", ConfigChange{Set: set("SECRET=1")})
	pushBranch()
	mustHave(t, m, preview)
	mustConfigure(t, m, "hello", ConfigChange{Set: set("A=1", "B=2"), Preview: &yes})
	pushBranch()
	mustHave(t, m, preview, "A=1 from hello", "B=2 from hello")
	mustConfigure(t, m, preview, ConfigChange{Set: set("B=own", "C=own")})
	mustConfigure(t, m, "hello", ConfigChange{Set: set("A=3")})
	pushBranch()
	mustHave(t, m, preview, "B=own", "C=own", "A=3 from hello")
	mustConfigure(t, m, "hello", ConfigChange{Mark: []string{"A", "B"}, Preview: &no})
	pushBranch()
	mustHave(t, m, preview, "B=own", "C=own")
}
