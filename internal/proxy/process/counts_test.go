package process

import (
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// TestCounts: what has not changed is told once to each gitd.
func TestCounts(t *testing.T) {
	p := New(Options{Log: t.Logf})
	defer p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	told := func(what string, want ...string) {
		t.Helper()
		got := p.counts().Revisions
		for _, key := range want {
			if got[key] == nil {
				t.Errorf("%s: nothing of %s", what, key)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d revisions, want %v", what, len(got), want)
		}
	}
	for _, key := range []string{"shop/1", "blog/1"} {
		if err := p.addRevision(&wire.Revision{Key: key, Timeout: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	told("new ones, which have counted nothing")
	p.revisions["shop/1"].requests++
	told("a request", "shop/1")
	told("and no more")
	if err := p.addRevision(&wire.Revision{Key: "blog/1"}); err != nil {
		t.Fatal(err)
	}
	told("gitd has made it again", "blog/1")
	for _, r := range p.revisions {
		r.told = untold
	}
	told("the next gitd", "shop/1", "blog/1")
	told("which was told")
}
