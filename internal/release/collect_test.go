package release

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
)

// revisionsOnly is a platform that has revisions of an app, and notes which are deleted.
type revisionsOnly struct {
	deploy.Platform
	there, deleted []string
}

func (p *revisionsOnly) Describe(context.Context, string) ([]deploy.RevisionStatus, error) {
	var out []deploy.RevisionStatus
	for _, r := range p.there {
		out = append(out, deploy.RevisionStatus{Name: r})
	}
	return out, nil
}

func (p *revisionsOnly) DeleteRevision(_ context.Context, _, revision string) error {
	p.deleted = append(p.deleted, revision)
	return nil
}

// Of an app's revisions only those go that the platform has and that a release was made with.
func TestMachine_Collect(t *testing.T) {
	p, images := &revisionsOnly{there: []string{"hello-v2", "hello-v4", "by-hand"}}, make(collected, 1)
	m := newMachine(t, nil, func(o *Options) { o.Platform, o.Images = p, images })
	if _, err := m.o.Store.CreateApp(t.Context(), "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	for v := 1; v <= 3+kept; v++ { // v1 to v3 are no longer needed
		r, err := m.o.Store.AddRelease(t.Context(), app.Release{App: "hello", Commit: "c", Ref: "refs/heads/main", Key: "dev"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []store.Event{{State: app.StateStarting, Revision: app.RevisionName("hello", v), Repository: "hello", Digest: fmt.Sprint("sha256:", v)}, {State: app.StateLive}} {
			if err := m.o.Store.AddEvent(t.Context(), "hello", r.Version, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Collect(t.Context(), "hello")
	if needed := <-images; !slices.Equal(p.deleted, []string{"hello-v2"}) || len(needed) != kept {
		t.Errorf("deleted %q, kept %v", p.deleted, needed)
	}
	m.Sweep(t.Context())
	if needed := <-images; len(needed) != kept || len(p.deleted) != 1 {
		t.Errorf("kept %v, deleted %q", needed, p.deleted)
	}
}
