package release

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
)

// A push that waits for other apps' builds says so, and is ended by whatever ends a push. Dry runs wait, too.
func TestMachine_Queue(t *testing.T) {
	builds := make(chan string, 10)
	finish := make(chan struct{})
	m := newMachine(t, builderFunc(func(_ context.Context, r build.Request) (*build.Result, error) {
		builds <- r.App
		<-finish
		return nil, app.Errorf(app.CodeBuildFailed, "", "it ends here")
	}), func(o *Options) { o.Queue = build.NewQueue(1) })
	type ended struct {
		log string
		err error
	}
	first, second, third := make(chan ended, 1), make(chan ended, 1), make(chan ended, 1)
	go func() { log, err := push(t.Context(), m, "first", strings.Repeat("1", 40)); first <- ended{log, err} }()
	<-builds
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { log, err := push(ctx, m, "second", strings.Repeat("2", 40)); second <- ended{log, err} }()
	for len(ledger(t, m, "second")) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	cancel(errors.New("gone"))
	began := time.Now()
	if e := <-second; app.CodeOf(e.err) != app.CodeCancelled || !strings.Contains(e.log, "-----> Waiting for 1 build ahead\n") || time.Since(began) > time.Minute {
		t.Errorf("%v\n%s", e.err, e.log)
	}
	go func() { log, err := dryRun(t.Context(), m, "third", strings.Repeat("3", 40)); third <- ended{log, err} }()
	for len(ledger(t, m, "third")) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if len(builds) != 0 {
		t.Errorf("%s builds beside the first", <-builds)
	}
	finish <- struct{}{}
	<-first
	if got := <-builds; got != "third" {
		t.Errorf("%s builds", got)
	}
	finish <- struct{}{}
	if e := <-third; app.CodeOf(e.err) != app.CodeBuildFailed || !strings.Contains(e.log, "       waited ") {
		t.Errorf("%v\n%s", e.err, e.log)
	}
}
