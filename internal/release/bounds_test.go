package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/project"
)

// written calls then when the files are written.
type written struct {
	tree
	then func()
}

func (s written) Checkout(ctx context.Context, dir string, uid, gid int) error {
	defer s.then()
	return s.tree.Checkout(ctx, dir, uid, gid)
}

// The attack: a commit whose project.toml has patterns that take long for each of very many files. The client goes away, and
// the next push of the app waits for the end of it all.
func TestAttack_PatternsEndWithThePush(t *testing.T) {
	settings, err := project.Parse("[io.buildpacks]\nexclude = [" + strings.Repeat("'*"+strings.Repeat("b", 120)+"c',", 20) + "]\n")
	if err != nil {
		t.Fatal(err)
	}
	source := tree{}
	for i := range 2_000 {
		source[fmt.Sprintf("%s%d", strings.Repeat("b", 240), i)] = ""
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client went away")
	var began time.Time
	err = selectFiles(written{source, func() {
		began = time.Now()
		time.AfterFunc(100*time.Millisecond, func() { cancel(gone) })
	}}, settings.Files, app.NewLog(new(strings.Builder))).Checkout(ctx, t.TempDir(), os.Getuid(), os.Getgid())
	if took := time.Since(began); !errors.Is(err, gone) || took > 2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// The attack: a build whose metadata names process types without end, each of which the server keeps in its ledger and compares with
// each line of a Procfile.
func TestAttack_ProcessTypes(t *testing.T) {
	for name, tt := range map[string]struct {
		processes []app.Process
		want      string
	}{
		"Many":  {make([]app.Process, 20_000), "the image has 20000 process types, more than 100"},
		"Large": {[]app.Process{{Type: "web", Command: []string{strings.Repeat("a", 100<<10)}}}, "take more than 64 KiB together"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, builderFunc(func(context.Context, build.Request) (*build.Result, error) {
				return &build.Result{Repository: "hello", Digest: "sha256:1", Processes: tt.processes}, nil
			}), nil)
			if _, err := push(t.Context(), m, "hello", strings.Repeat("1", 40)); app.CodeOf(err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if r := ledger(t, m, "hello")[0]; r.State != app.StateFailed || len(r.Processes) != 0 {
				t.Errorf("%s, %d process types", r.State, len(r.Processes))
			}
		})
	}
}
