package release

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// configure gives the Service of a new revision the app's current configuration.
func (d *deployment) configure(ctx context.Context, service *servingv1.Service) error {
	c, err := d.m.o.Store.CurrentConfiguration(ctx, d.release.AppID)
	if err != nil {
		return err
	}
	t := &service.Spec.Template
	if t.Annotations == nil {
		t.Annotations = map[string]string{}
	}
	t.Annotations[deploy.AppIDAnnotation] = strconv.FormatInt(d.release.AppID, 10) // releases of an older gitd have none
	deploy.SetConfiguration(&service.Spec.Template, d.release.App, c.Version)
	return nil
}

// makesCurrent notes that the configuration of a release becomes the current one when it is live. Where the release is an older one it says what that changes.
func (d *deployment) makesCurrent(ctx context.Context, service *servingv1.Service) error {
	version, err := deploy.ConfigurationOf(&service.Spec.Template, d.release.App)
	if err != nil {
		return err
	}
	d.configuration = &version
	if d.release.Kind == app.KindConfig {
		return nil
	}
	now, err := d.m.o.Store.CurrentConfiguration(ctx, d.release.AppID)
	if err != nil {
		return err
	}
	then, err := d.m.o.Store.Configuration(ctx, d.release.AppID, version)
	if err != nil {
		return err
	}
	if names := changedVariables(now, then); len(names) > 0 {
		d.log.Detail("its configuration comes back as well; different: %s", app.Clip(strings.Join(names, ", "), 500))
	}
	return nil
}

// configurationOf returns the version of the configuration that a release has.
func (m *Machine) configurationOf(ctx context.Context, r app.Release) (*int, error) {
	service, err := m.service(ctx, r)
	if err != nil {
		return nil, err
	}
	version, err := deploy.ConfigurationOf(&service.Spec.Template, r.App)
	return &version, err
}

// dropConfigurations forgets the values that no kept release of an app needs.
func (m *Machine) dropConfigurations(ctx context.Context, name string) error {
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	releases, err := m.o.Store.Ledger(name).Kept(ctx, kept)
	if err != nil {
		return err
	}
	var needed []int
	for _, r := range releases {
		if r.Revision == "" { // under way: its configuration is the current one, or not known yet
			return nil
		}
		version, err := m.configurationOf(ctx, r)
		if err != nil {
			return fmt.Errorf("v%d: %w", r.Version, err)
		}
		needed = append(needed, *version)
	}
	return m.o.Store.DropConfigurations(ctx, a.ID, needed)
}
