package app

import "testing"

func TestAllow(t *testing.T) {
	mine := &App{ID: 1, Name: "mine", Owner: "dev"}
	theirs := &App{ID: 2, Name: "theirs", Owner: "other"}
	admin, dev, ci := Key{Name: "root", Admin: true}, Key{Name: "dev"}, Key{Name: "ci", Apps: []Scope{{"theirs", 2}, {"new", 0}}}
	for _, tt := range []struct {
		what string
		key  Key
		name string
		app  *App
		verb Verb
		want Code
	}{
		{"admin creates", admin, "x", nil, Create, ""},
		{"admin deletes another's", admin, "theirs", theirs, Delete, ""},
		{"admin reads none", admin, "x", nil, Read, NotFound},
		{"dev's first push", dev, "x", nil, Push, ""},
		{"dev pushes own", dev, "mine", mine, Push, ""},
		{"dev deletes own", dev, "mine", mine, Delete, ""},
		{"dev pushes another's", dev, "theirs", theirs, Push, Forbidden},
		{"dev reads another's", dev, "theirs", theirs, Read, Forbidden},
		{"ci pushes its app", ci, "theirs", theirs, Push, ""},
		{"ci deletes its app", ci, "theirs", theirs, Delete, Forbidden},
		{"ci pushes another", ci, "mine", mine, Push, Forbidden},
		{"ci pushes another app of that name", ci, "theirs", &App{ID: 9, Name: "theirs", Owner: "third"}, Push, Forbidden},
		{"ci pushes an app that it is not bound to", ci, "new", &App{ID: 10, Name: "new"}, Push, Forbidden},
		{"ci creates", ci, "new", nil, Push, Forbidden},
		{"ci probes for names", ci, "secret", nil, Read, Forbidden},
		{"a name that contains another", Key{Name: "k", Apps: []Scope{{"foobar", 3}}}, "foo", &App{ID: 3, Name: "foo"}, Push, Forbidden},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if got := CodeOf(Allow(tt.key, tt.name, tt.app, tt.verb)); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}
}
