package release

import (
	"context"
	"errors"
	"strconv"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// PromotePreview takes what is live in a preview of an app live in the app itself, as a new entry in its ledger: the same image, with the settings of production.
// preview is the branch, or the preview's name. It returns an *app.Error: CodeNotFound if there is no such preview, or nothing of it is live, CodeForbidden if by
// has no right to change the app, CodeLimitExceeded if its settings of production are above the caps, or why it did not go live.
func (m *Machine) PromotePreview(ctx context.Context, by app.Caller, name, preview string, log *app.Log) (app.Result, error) {
	if _, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange); err != nil {
		return app.Result{}, err
	}
	p, err := m.o.Store.FindPreview(ctx, name, preview)
	if err != nil {
		return app.Result{}, err
	}
	return m.change(ctx, by, name, change{
		kind: app.KindPromotion, says: "promoting " + p.Name, of: p.Name, command: true,
		find: func(l store.Ledger) (app.Release, error) { return l.Live(ctx) },
		edit: func(ctx context.Context, r *app.Release, service *servingv1.Service) error {
			service.Name = name
			if err := m.checkRequired(ctx, *r, service); err != nil {
				return err
			}
			service.Spec.Template.Annotations[deploy.AppIDAnnotation] = strconv.FormatInt(r.AppID, 10)
			if err := (&deployment{m: m, release: *r}).keepScale(ctx, service); err != nil {
				return err
			}
			if err := m.checkService(ctx, *r, service, "ask for less in project.toml"); err != nil {
				return err
			}
			defer m.leases.take()() // until the ledger has the image
			if err := m.copyImage(ctx, *r, p.Name, name, app.VersionName(r.Version)); err != nil {
				return err
			}
			r.Repository = name
			service.Spec.Template.Spec.Containers[0].Image = r.Repository + "@" + r.Digest
			return nil
		},
	}, log)
}

// copyImage adds the image of a release in one repository to another one. Layers that the registry has are not written again.
func (m *Machine) copyImage(ctx context.Context, r app.Release, from, to, tag string) error {
	img, err := m.o.Shelf.Image(from, r.Digest)
	if errors.Is(err, registry.ErrNotFound) {
		return app.Wrap(err, app.CodeNotFound, "push again", "the image of %s v%d is no longer in the registry", from, r.Version)
	} else if err != nil {
		return err
	}
	return m.o.Shelf.AddImage(ctx, to, tag, img)
}
