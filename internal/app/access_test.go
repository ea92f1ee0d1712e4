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
		{"admin creates", admin, "x", nil, VerbCreate, ""},
		{"admin deletes another's", admin, "theirs", theirs, VerbDelete, ""},
		{"admin reads none", admin, "x", nil, VerbRead, CodeNotFound},
		{"dev's first push", dev, "x", nil, VerbPush, ""},
		{"dev pushes own", dev, "mine", mine, VerbPush, ""},
		{"dev changes none", dev, "x", nil, VerbChange, CodeNotFound},
		{"admin changes none", admin, "x", nil, VerbChange, CodeNotFound},
		{"dev changes own", dev, "mine", mine, VerbChange, ""},
		{"dev changes another's", dev, "theirs", theirs, VerbChange, CodeForbidden},
		{"ci changes its app", ci, "theirs", theirs, VerbChange, ""},
		{"ci changes another", ci, "mine", mine, VerbChange, CodeForbidden},
		{"dev deletes own", dev, "mine", mine, VerbDelete, ""},
		{"dev pushes another's", dev, "theirs", theirs, VerbPush, CodeForbidden},
		{"dev reads another's", dev, "theirs", theirs, VerbRead, CodeForbidden},
		{"ci pushes its app", ci, "theirs", theirs, VerbPush, ""},
		{"ci deletes its app", ci, "theirs", theirs, VerbDelete, CodeForbidden},
		{"ci pushes another", ci, "mine", mine, VerbPush, CodeForbidden},
		{"ci pushes another app of that name", ci, "theirs", &App{ID: 9, Name: "theirs", Owner: "third"}, VerbPush, CodeForbidden},
		{"ci pushes an app that it is not bound to", ci, "new", &App{ID: 10, Name: "new"}, VerbPush, CodeForbidden},
		{"ci creates", ci, "new", nil, VerbPush, CodeForbidden},
		{"ci probes for names", ci, "secret", nil, VerbRead, CodeForbidden},
		{"a name that contains another", Key{Name: "k", Apps: []Scope{{"foobar", 3}}}, "foo", &App{ID: 3, Name: "foo"}, VerbPush, CodeForbidden},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if got := CodeOf(Allow(tt.key, tt.name, tt.app, tt.verb)); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}
}
