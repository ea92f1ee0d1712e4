package secret

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store"
)

// fixture is the configurations of a new database, which has the app hello.
func fixture(t *testing.T) (*Configurations, *store.Store, app.App) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	a, err := s.CreateApp(t.Context(), "hello", "dev")
	if err != nil {
		t.Fatal(err)
	}
	return New(s, filepath.Join(dir, "secret.key")), s, a
}

func values(pairs ...string) Values {
	v := Values{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		v[name] = []byte(value)
	}
	return v
}

func variables(v Values) (list []app.Variable) {
	for name := range v {
		list = append(list, app.Variable{Name: name, By: "dev"})
	}
	return list
}

func mustAdd(t *testing.T, c *Configurations, a app.App, v Values) int {
	t.Helper()
	n, err := c.Add(t.Context(), a, "dev", variables(v), v, true)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustBe(t *testing.T, c *Configurations, a app.App, version int, want Values) {
	t.Helper()
	got, err := c.Values(t.Context(), a.ID, a.Name, version)
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("version %d: %q, %v; want %q", version, got, err, want)
	}
}

func TestConfigurations(t *testing.T) {
	c, s, a := fixture(t)
	one := values("A=planted-one", "EMPTY=", "PEM=-----BEGIN\n two\t \"=\n", "LONG="+strings.Repeat("planted", 10_000))
	if _, err := os.Stat(c.File()); err == nil {
		t.Error("there is a key before the first use")
	}
	first, second := mustAdd(t, c, a, one), mustAdd(t, c, a, values("A=planted-two"))
	mustBe(t, c, a, first, one)
	mustBe(t, c, a, second, values("A=planted-two"))
	mustBe(t, New(s, c.File()), a, first, one)
	if info, err := os.Stat(c.File()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(c.File()), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("planted")) {
			t.Errorf("%s has a value, or %v", f, err)
		}
	}
}

// A digest says whether a value is another one, and cannot be made without the key.
func TestConfigurations_digests(t *testing.T) {
	c, s, a := fixture(t)
	digests := func(v Values) map[string]string {
		n := mustAdd(t, c, a, v)
		kept, err := s.Configuration(t.Context(), a.ID, n)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, one := range kept.Variables {
			all[one.Name] = one.Digest
		}
		return all
	}
	one, two := digests(values("A=x", "B=x")), digests(values("A=x", "B=y"))
	if one["A"] != two["A"] || one["B"] == two["B"] || one["A"] == one["B"] || len(one["A"]) != 12 {
		t.Errorf("%v, %v", one, two)
	}
	other, _, b := fixture(t)
	mustAdd(t, other, b, values("A=x"))
	if d, err := other.Digests(a.ID, values("A=x")); err != nil || d["A"] == one["A"] {
		t.Errorf("with another key: %v, %v", d, err)
	}
}

func TestConfigurations_Rekey(t *testing.T) {
	c, s, a := fixture(t)
	n := mustAdd(t, c, a, values("A=one"))
	old, err := os.ReadFile(c.File())
	if err != nil {
		t.Fatal(err)
	}
	if sealed, lost, err := c.Rekey(t.Context()); sealed != 1 || lost != 0 || err != nil {
		t.Fatal(sealed, lost, err)
	}
	mustBe(t, c, a, n, values("A=one"))
	now, err := os.ReadFile(c.File())
	if err != nil || bytes.Equal(now, old) || bytes.Count(now, []byte("AGE-SECRET-KEY-")) != 1 {
		t.Errorf("the key file: %d keys, %v", bytes.Count(now, []byte("AGE-SECRET-KEY-")), err)
	}
	if err := os.WriteFile(c.File(), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(s, c.File()).Values(t.Context(), a.ID, a.Name, n); app.CodeOf(err) != app.CodeUnavailable {
		t.Errorf("the old key still opens it: %v", err)
	}
}

// A process that is killed between the steps of Rekey leaves a key file that opens everything.
func TestConfigurations_Rekey_killed(t *testing.T) {
	c, s, a := fixture(t)
	n := mustAdd(t, c, a, values("A=one"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Rekey(ctx); err == nil {
		t.Fatal("a rekey that was ended before its transaction worked")
	}
	mustBe(t, New(s, c.File()), a, n, values("A=one"))
	again := New(s, c.File())
	if sealed, lost, err := again.Rekey(t.Context()); sealed != 1 || lost != 0 || err != nil {
		t.Fatal(sealed, lost, err)
	}
	mustBe(t, again, a, n, values("A=one"))
}

// A key that is lost takes the values with it, and is named; setting all of them begins again, and the old key that is found opens the old ones.
func TestConfigurations_lost(t *testing.T) {
	c, s, a := fixture(t)
	first := mustAdd(t, c, a, values("A=one", "B=two"))
	old, err := os.ReadFile(c.File())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.File()); err != nil {
		t.Fatal(err)
	}
	c = New(s, c.File())
	_, err = c.Values(t.Context(), a.ID, a.Name, first)
	if message, next := app.Explain(err); app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(message, "A, B") || !strings.Contains(next, "--reset") {
		t.Errorf("%s; %s", message, next)
	}
	if lines, err := c.Report(t.Context()); err != nil || len(lines) != 1 || !strings.Contains(lines[0], "hello") {
		t.Errorf("%q, %v", lines, err)
	}
	second := mustAdd(t, c, a, values("A=three"))
	mustBe(t, c, a, second, values("A=three"))
	if lines, err := c.Report(t.Context()); err != nil || len(lines) != 0 {
		t.Errorf("%q, %v", lines, err)
	}
	f, err := os.OpenFile(c.File(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(old); err != nil {
		t.Fatal(err)
	}
	f.Close()
	mustBe(t, New(s, c.File()), a, first, values("A=one", "B=two"))
	mustBe(t, New(s, c.File()), a, second, values("A=three"))
}

func TestConfigurations_keyFile(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "comments": "# nothing\n", "another": "AGE-SECRET-KEY-1planted\n", "binary": "\x00\xff"} {
		c, _, a := fixture(t)
		if err := os.WriteFile(c.File(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c.Add(t.Context(), a, "dev", nil, values("A=b"), true)
		if app.CodeOf(err) != app.CodeUnavailable || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(c.File()); err != nil || string(b) != text {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

func TestValues_Check(t *testing.T) {
	for name, c := range map[string]struct {
		v    Values
		code app.Code
	}{
		"good":          {values("A=b", "_x9=", "a=\n"), ""},
		"largest":       {values("A=" + strings.Repeat("x", maxVariable-2)), ""},
		"no name":       {values("=b"), app.CodeInvalidName},
		"digit":         {values("1A=b"), app.CodeInvalidName},
		"dash":          {values("A-B=b"), app.CodeInvalidName},
		"not ASCII":     {values("Ä=b"), app.CodeInvalidName},
		"port":          {values("PORT=1"), app.CodeInvalidName},
		"Knative's":     {values("K_SERVICE=1"), app.CodeInvalidName},
		"NUL":           {values("A=x\x00y"), app.CodeInvalidInput},
		"not UTF-8":     {values("A=x\xff"), app.CodeInvalidInput},
		"too large":     {values("A=" + strings.Repeat("x", maxVariable-1)), app.CodeLimitExceeded},
		"large in all":  {many(9, 120_000), app.CodeLimitExceeded},
		"many":          {many(100, 5), ""},
		"too many":      {many(1001, 0), app.CodeLimitExceeded},
		"long name":     {values(strings.Repeat("N", 256) + "=b"), app.CodeInvalidName},
		"escape's name": {values("A\x1b[31m=b"), app.CodeInvalidName},
	} {
		if err := c.v.Check(); app.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func many(n, size int) Values {
	v := Values{}
	for i := range n {
		v[fmt.Sprintf("V%d", i)] = bytes.Repeat([]byte("v"), size)
	}
	return v
}
