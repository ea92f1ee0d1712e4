package release

import (
	"context"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// holdAnnotation of a template says that maintenance is on while its release command runs, and how long requests are held: "0s" for not at all.
const holdAnnotation = "gitd.io/release-hold"

// maintained notes in a Service what its app asks for while its release command runs.
func maintained(s *servingv1.Service, r project.Release) {
	if r.Maintenance {
		s.Spec.Template.Annotations[holdAnnotation] = r.Hold.String()
	}
}

// SetMaintenance has the clients of an app wait, or be answered with 503, instead of the app; on false ends that. It returns an *app.Error: CodeNotFound where
// nothing is live, CodeInvalidInput for a hold that is out of bounds or not possible, CodeForbidden if by has no right to change the app.
func (m *Machine) SetMaintenance(ctx context.Context, by app.Caller, name string, on bool, hold time.Duration) (*deploy.Maintenance, error) {
	if _, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange); err != nil {
		return nil, err
	}
	if hold < 0 || hold > deploy.MaxHold {
		return nil, app.Errorf(app.CodeInvalidInput, "give a time such as 30s, at most "+deploy.MaxHold.String(), "requests cannot be held for %s", hold)
	}
	var want *deploy.Maintenance
	if on {
		want = &deploy.Maintenance{Hold: hold, By: by.Name(), Since: time.Now().UTC()}
		if err := m.takesRequests(ctx, name); err != nil {
			return nil, err
		}
	}
	err := m.o.Platform.SetMaintenance(ctx, name, want)
	if errors.Is(err, deploy.ErrNotFound) {
		return nil, notLive(name)
	}
	return want, err
}

// Maintenance returns what is on for an app; nil for nothing.
func (m *Machine) Maintenance(ctx context.Context, name string) (*deploy.Maintenance, error) {
	on, err := m.o.Platform.Maintenance(ctx, name)
	if errors.Is(err, deploy.ErrNotFound) {
		return nil, notLive(name)
	}
	return on, err
}

func notLive(name string) error {
	return app.Errorf(app.CodeNotFound, "push it first", "nothing of %s is live yet", name)
}

// takesRequests fails for an app that runs workers alone.
func (m *Machine) takesRequests(ctx context.Context, name string) error {
	_, service, err := m.live(ctx, name)
	if err == nil && deploy.WithoutWeb(&service.Spec.Template) {
		err = app.Errorf(app.CodeInvalidInput, "see its workers: gitd apps "+name, "%s has no web process: it takes no requests", name)
	}
	return err
}

// maintain turns maintenance on for as long as the release command runs, and until the release has its traffic, where its Service asks for that. Clients
// do not meet the old version with what the command has changed. d.resume ends it; what a person has turned on stays.
func (d *deployment) maintain(ctx context.Context, service *servingv1.Service) error {
	asked, ok := service.Spec.Template.Annotations[holdAnnotation]
	if !ok {
		return nil
	}
	hold, err := time.ParseDuration(asked)
	if err != nil {
		return err
	}
	p, name := d.m.o.Platform, d.release.App
	on, err := p.Maintenance(ctx, name)
	if errors.Is(err, deploy.ErrNotFound) || err == nil && on != nil && on.Release == 0 {
		return nil // there is nothing to maintain yet; or a person has turned it on
	} else if err != nil {
		return err
	}
	if err := p.SetMaintenance(ctx, name, &deploy.Maintenance{Hold: hold, Release: d.release.Version, By: d.by.Name(), Since: time.Now().UTC()}); err != nil {
		return err
	}
	d.maintains = true
	if hold > 0 {
		d.log.Detail("requests are held until the release is live, each at most %s", hold)
	} else {
		d.log.Detail("requests are answered with 503 until the release is live")
	}
	return nil
}

// resume ends what maintain turned on.
func (d *deployment) resume() {
	if !d.maintains {
		return
	}
	d.maintains = false
	ctx, cancel := context.WithTimeout(context.Background(), applyLimit)
	defer cancel()
	on, err := d.m.o.Platform.Maintenance(ctx, d.release.App)
	if err == nil && on != nil && on.Release == d.release.Version {
		err = d.m.o.Platform.SetMaintenance(ctx, d.release.App, nil)
	}
	if err != nil && !errors.Is(err, deploy.ErrNotFound) {
		d.log.Error("the maintenance of %s could not be ended: %v", d.release.App, err)
		d.m.o.Log("maintenance of %s: %v", d.release.App, err)
	}
}

// endMaintenance ends what a release turned on that an earlier process left unfinished.
func (m *Machine) endMaintenance(ctx context.Context, r app.Release) error {
	on, err := m.o.Platform.Maintenance(ctx, r.App)
	if errors.Is(err, deploy.ErrNotFound) || err == nil && (on == nil || on.Release != r.Version) {
		return nil
	} else if err != nil {
		return err
	}
	return m.o.Platform.SetMaintenance(ctx, r.App, nil)
}
