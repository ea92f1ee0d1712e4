package release

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/store"
)

func TestMachine_DivideRefuses(t *testing.T) {
	m := newMachine(t, nil, nil)
	for i := range kept + 2 { // v1 and v2 are no longer kept, once there is another
		past(t, m, "site", app.StateLive, fmt.Sprintf("site-v%d", i+1))
	}
	past(t, m, "site", app.StateFailed, "site-v13")
	past(t, m, "site", app.StateReady, "site-v14")
	past(t, m, "site", app.StateLive, "site-v10") // v15, a rollback
	for _, tt := range []struct {
		shares []store.Share
		code   app.Code
		want   string
	}{
		{nil, app.CodeInvalidInput, "the shares add up to 0%"},
		{[]store.Share{{Version: 15, Percent: 90}, {Version: 14, Percent: 20}}, app.CodeInvalidInput, "the shares add up to 110%"},
		{[]store.Share{{Version: 15, Percent: 101}, {Version: 14, Percent: -1}}, app.CodeInvalidInput, "v15=101 is not a share of the traffic"},
		{[]store.Share{{Version: 15, Percent: 100}, {Version: 14, Percent: 0}}, app.CodeInvalidInput, "v14=0 is not a share of the traffic"},
		{[]store.Share{{Version: 15, Percent: 50}, {Version: 15, Percent: 50}}, app.CodeInvalidInput, "v15 is given twice"},
		{[]store.Share{{Version: 15, Percent: 50}, {Version: 10, Percent: 50}}, app.CodeInvalidInput, "v15 and v10 are the same revision, site-v10"},
		{[]store.Share{{Version: 15, Percent: 50}, {Version: 99, Percent: 50}}, app.CodeNotFound, "release v99 of site does not exist"},
		{[]store.Share{{Version: 15, Percent: 50}, {Version: 13, Percent: 50}}, app.CodeInvalidInput, "v13 of site cannot take traffic: it is failed"},
		{[]store.Share{{Version: 15, Percent: 50}, {Version: 1, Percent: 50}}, app.CodeInvalidInput, "v1 of site cannot take traffic: only the last 10 releases are kept"},
		{[]store.Share{{Version: 12, Percent: 50}, {Version: 14, Percent: 50}}, app.CodeInvalidInput, "v15 of site is live, and would get no traffic"},
	} {
		if err := m.Divide(t.Context(), app.Root, "site", tt.shares, app.NewLog(io.Discard)); app.CodeOf(err) != tt.code || err.Error() != tt.want {
			t.Errorf("%v: %v, want %s", tt.shares, err, tt.want)
		}
	}
}

// The release that goes live next ends a split; until then what has a share is kept, however many come after it.
func TestMachine_Split(t *testing.T) {
	m := newMachine(t, nil, nil)
	past(t, m, "site", app.StateLive, "site-v1")
	past(t, m, "site", app.StateLive, "site-v2")
	shares := []store.Share{{Version: 2, Percent: 70}, {Version: 1, Percent: 30}}
	if err := m.o.Store.AddSplit(t.Context(), app.Root, "site", 1, shares); app.CodeOf(err) != app.CodeSuperseded {
		t.Errorf("a split of what is no longer live: %v", err)
	}
	if err := m.o.Store.AddSplit(t.Context(), app.Root, "site", 2, shares); err != nil {
		t.Fatal(err)
	}
	for i := range kept {
		past(t, m, "site", app.StateReady, fmt.Sprintf("site-v%d", i+3))
	}
	digests, err := m.needed(t.Context(), "site")
	if err != nil || !strings.Contains(strings.Join(digests, " "), "sha256:site-v1") {
		t.Errorf("needed: %v, %v", digests, err)
	}
	live, err := m.o.Store.Ledger("site").Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	traffic, err := m.traffic(t.Context(), live)
	if err != nil || len(traffic) != 2 || traffic[1].RevisionName != "site-v1" || *traffic[1].Percent != 30 {
		t.Errorf("traffic: %+v, %v", traffic, err)
	}
	past(t, m, "site", app.StateLive, "site-v13")
	if sp, err := m.split(t.Context(), "site"); err != nil || sp != nil {
		t.Errorf("the split goes on: %+v, %v", sp, err)
	}
	past(t, m, "site", app.StateLive, "site-v2") // a rollback is another release
	if sp, err := m.split(t.Context(), "site"); err != nil || sp != nil {
		t.Errorf("the split is back: %+v, %v", sp, err)
	}
}

func TestMachine_Abort(t *testing.T) {
	entered := make(chan struct{})
	m := newMachine(t, builderFunc(func(ctx context.Context, _ build.Request) (*build.Result, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}), nil)
	past(t, m, "site", app.StateLive, "site-v1")
	if _, err := m.Abort(t.Context(), app.Root, "site"); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("nothing is under way: %v", err)
	}
	done := make(chan error)
	go func() { _, err := push(context.Background(), m, "site", "c"); done <- err }()
	<-entered
	r, err := m.Abort(t.Context(), app.Root, "site")
	if err != nil || r.Version != 2 || r.State != app.StateCancelled || !strings.HasPrefix(r.Reason, "aborted by ") {
		t.Errorf("%+v, %v", r, err)
	}
	if err := <-done; app.CodeOf(err) != app.CodeCancelled {
		t.Error(err)
	}
}
