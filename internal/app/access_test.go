package app

import "testing"

func TestAllow(t *testing.T) {
	mine := &App{Name: "mine", Owner: "dev"}
	theirs := &App{Name: "theirs", Owner: "other"}
	admin, dev, ci := Key{Name: "root", Admin: true}, Key{Name: "dev"}, Key{Name: "ci", Apps: []string{"theirs", "new"}}
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
		{"ci creates", ci, "new", nil, Push, Forbidden},
		{"ci probes for names", ci, "secret", nil, Read, Forbidden},
		{"a name that contains another", Key{Name: "k", Apps: []string{"foobar"}}, "foo", &App{Name: "foo"}, Push, Forbidden},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if got := CodeOf(Allow(tt.key, tt.name, tt.app, tt.verb)); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}
}
