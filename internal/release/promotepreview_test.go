package release

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/project"
)

// What a preview's project.toml requires of the configuration must be set for the app that it is promoted to.
func TestPromotePreview_Required(t *testing.T) {
	m := newMachine(t, nil, nil)
	a, err := m.o.Store.CreateApp(t.Context(), "hello", "dev")
	if err != nil {
		t.Fatal(err)
	}
	r := app.Release{App: "hello", AppID: a.ID}
	for _, c := range []struct {
		declared []project.Declared
		set      string // a variable of the configuration
		want     string
	}{
		{nil, "A", ""},
		{[]project.Declared{{Name: "A", Required: true}, {Name: "C"}}, "A", ""},
		{[]project.Declared{{Name: "A", Required: true}, {Name: "B", Generate: 32}}, "A", "requires configuration that is not set for hello: B"},
	} {
		if _, err := m.o.Store.AddConfiguration(t.Context(), a.ID, app.Configuration{Variables: []app.Variable{{Name: c.set}}, Sealed: []byte("x")}, true); err != nil {
			t.Fatal(err)
		}
		s := serviceOf(t, r)
		noteRequired(s, c.declared)
		err := m.checkRequired(t.Context(), r, s)
		if c.want == "" && err != nil || c.want != "" && (app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.declared, err)
		}
	}
}
