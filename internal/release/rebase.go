package release

import (
	"context"
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/rebase"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Run images on which apps are built: RunImage returns where the one is on which builds are made now. It waits until that is known.
type RunImages interface {
	RunImage(ctx context.Context) (repository, digest string, err error)
}

// RebasePlan is what a rebase of an app does.
type RebasePlan struct {
	Live     int    // version that is live
	From, To string // digests of the run images; "" where the image was not built here
	Due      bool   // To is another one
}

// PlanRebase says what Rebase would do. It returns an *app.Error with CodeNotFound if nothing is live.
func (m *Machine) PlanRebase(ctx context.Context, name string) (p RebasePlan, err error) {
	live, err := m.o.Store.Ledger(name).Live(ctx)
	if err != nil {
		return p, err
	}
	return m.planRebase(ctx, live)
}

func (m *Machine) planRebase(ctx context.Context, live app.Release) (p RebasePlan, err error) {
	p.Live = live.Version
	if elsewhere(live) {
		return p, nil
	}
	if _, p.To, err = m.o.RunImages.RunImage(ctx); err != nil {
		return p, err
	}
	img, err := m.o.Shelf.Image(live.Repository, live.Digest)
	if err != nil {
		return p, missingImage(live, err)
	}
	p.From, err = rebase.Standing(img)
	p.Due = p.From != "" && p.From != p.To
	return p, err
}

// elsewhere reports whether the image of a release was not built here: what it stands on is its builder's, and newer ones are there.
func elsewhere(r app.Release) bool { return r.Commit == "" }

func missingImage(r app.Release, err error) error {
	return app.Errorf(app.CodeImageMissing, "push the app again", "the image of v%d of %s is not in the registry: %w", r.Version, r.App, err)
}

// errOnNewest is why a rebase is not a release.
var errOnNewest = errors.New("the image stands on the newest run image")

// Rebase takes the image that is live onto the run image that builds are made on now, without a build, as a new release. done is false where it stands on it
// already. It returns an *app.Error: CodeInvalidInput if the image cannot stand on that run image, CodeNotFound if nothing is live, or why it did not go live.
func (m *Machine) Rebase(ctx context.Context, by app.Caller, name string, log *app.Log) (result app.Result, done bool, err error) {
	result, err = m.change(ctx, by, name, change{
		kind: app.KindRebase, says: "rebasing",
		find: func(l store.Ledger) (app.Release, error) {
			live, err := l.Live(ctx)
			if err != nil {
				return live, err
			}
			p, err := m.planRebase(ctx, live)
			switch {
			case err != nil:
				return live, err
			case elsewhere(live):
				return live, app.Errorf(app.CodeInvalidInput, "rebase it where it was built (pack rebase), and deploy it again: gitd image deploy "+name+" REF", "the image of %s was built elsewhere: %s", name, origin(live))
			case p.From == "":
				return live, app.Errorf(app.CodeInvalidInput, "build it again where it was built, on a newer base image", "the image of %s was not built by buildpacks: it stands on no run image", name)
			case !p.Due:
				return live, errOnNewest
			}
			return live, nil
		},
		edit: func(ctx context.Context, r *app.Release, service *servingv1.Service) error {
			return m.rebaseImage(ctx, r, service, log)
		},
	}, log)
	if errors.Is(err, errOnNewest) {
		return result, false, nil
	}
	return result, err == nil, err
}

// rebaseImage puts the release's image on the run image, and the Service on that image.
func (m *Machine) rebaseImage(ctx context.Context, r *app.Release, service *servingv1.Service, log *app.Log) error {
	defer m.leases.take()()
	old, err := m.o.Shelf.Image(r.Repository, r.Digest)
	if err != nil {
		return missingImage(*r, err)
	}
	base := rebase.Base{}
	if base.Repository, base.Digest, err = m.o.RunImages.RunImage(ctx); err != nil {
		return err
	}
	if base.Image, err = m.o.Shelf.Image(base.Repository, base.Digest); err != nil {
		return app.Errorf(app.CodeUnavailable, "restart gitd, which puts it there again", "the run image is not in the registry: %w", err)
	}
	img, err := rebase.Onto(ctx, old, base)
	if err != nil {
		return err
	}
	if err := m.o.Shelf.AddImage(ctx, r.Repository, app.VersionName(r.Version), img); err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	r.Digest = digest.String()
	service.Spec.Template.Spec.Containers[0].Image = r.Repository + "@" + r.Digest
	log.Step("Image %s@%.11s… on the run image %.19s, without a build", r.Repository, r.Digest, base.Digest)
	return nil
}
