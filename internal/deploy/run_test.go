package deploy_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

func TestShell(t *testing.T) {
	for _, c := range []struct {
		said       string
		code, want int
	}{
		{"\x1b[31;1mERROR: \x1b[0mfailed to launch: path lookup: exec: \"nope\": executable file not found in $PATH\n", 82, 127},
		{"ERROR: failed to launch: path lookup: exec: \"/etc/passwd\": permission denied\n", 82, 126},
		{"something of its own\n", 82, 82},
		{"failed to launch: ", 1, 1},
		{strings.Repeat("x", 5000) + "failed to launch: nope", 82, 127},
	} {
		var s deploy.Shell
		var b bytes.Buffer
		w := s.Errors(&b)
		for chunk := range strings.SplitAfterSeq(c.said, ":") {
			fmt.Fprint(w, chunk)
		}
		if got := s.Status(c.code); got != c.want || b.String() != c.said {
			t.Errorf("%q: %d", c.said, got)
		}
	}
}

func TestRunSpec_Check(t *testing.T) {
	for _, s := range []deploy.RunSpec{{}, {Process: "../job"}, {Args: []string{""}}, {Args: []string{"a\x00"}}, {Args: []string{"a"}, Name: "A"}, {Args: []string{"a"}, Name: strings.Repeat("a", 53)},
		{Args: []string{"a"}, Env: []string{"A"}}, {Args: []string{"a"}, Env: []string{"1A=b"}}, {Args: []string{"a"}, Env: []string{"PORT=1"}}, {Args: []string{"a"}, Env: []string{"K_X=1"}},
		{Args: []string{"a"}, Env: []string{"=b"}}, {Args: []string{"a"}, Env: []string{"A=\x00"}}} {
		if err := s.Check(); app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for _, s := range []deploy.RunSpec{{Process: "web"}, {Args: []string{"a", ""}, Name: "web-job-1", Env: []string{"A=", "_b=c=d"}}} {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
