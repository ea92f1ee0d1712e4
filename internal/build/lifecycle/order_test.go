package lifecycle

import (
	"io"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
)

func TestSession_Order(t *testing.T) {
	have := []build.Buildpack{{ID: "gitd/packages", Version: "1"}, {ID: "gitd/nodejs", Version: "1"}, {ID: "gitd/python", Version: "1"}, {ID: "gitd/procfile", Version: "1"}}
	for _, tt := range []struct {
		name  string
		asked []build.Buildpack
		want  string // IDs in order, optional ones with "?"
		err   string
	}{
		{"None", nil, "", ""},
		{"Short", []build.Buildpack{{ID: "nodejs"}, {ID: "python"}}, "gitd/packages? gitd/nodejs gitd/python gitd/procfile?", ""},
		{"Full", []build.Buildpack{{ID: "gitd/python", Version: "1"}}, "gitd/packages? gitd/python gitd/procfile?", ""},
		{"Procfile", []build.Buildpack{{ID: "procfile"}}, "gitd/packages? gitd/procfile", ""},
		{"OfAnotherBuilder", []build.Buildpack{{ID: "heroku/nodejs", Version: "3.2"}}, "gitd/packages? gitd/nodejs gitd/procfile?", ""},
		{"Unknown", []build.Buildpack{{ID: "cobol"}}, "", `the builder has no buildpack "cobol"; it has nodejs, packages, procfile, python`},
		{"Version", []build.Buildpack{{ID: "gitd/python", Version: "2"}}, "", "the builder has the buildpack gitd/python in version 1, not 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Session{Request: build.Request{Buildpacks: tt.asked, Log: app.NewLog(io.Discard)}}
			text, err := s.Order(have)
			if tt.err != "" {
				if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), tt.err) {
					t.Error(err)
				}
				return
			}
			var got []string
			for line := range strings.Lines(text) {
				if id, ok := strings.CutPrefix(strings.TrimSpace(line), "id = "); ok {
					got = append(got, strings.Trim(id, `"`))
				}
				if strings.TrimSpace(line) == "optional = true" {
					got[len(got)-1] += "?"
				}
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
