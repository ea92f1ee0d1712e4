package operation

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/store"
)

// ReleaseOf asks for one release of an app.
type ReleaseOf struct {
	OfApp
	Version int
}

// ReleaseDetail is all that is known of one release.
type ReleaseDetail struct {
	App string `json:"app"`
	Release
	Revision  string            `json:"revision,omitempty"` // that serves it
	Processes []string          `json:"processes"`          // process types of the image
	Events    []ReleaseEvent    `json:"events"`
	Parts     []app.Time        `json:"parts"`              // what its parts took
	Settings  map[string]string `json:"settings,omitempty"` // by their names in project.toml; none for one that was never started
	Env       []string          `json:"env,omitempty"`      // names of the variables that project.toml sets
	Config    []app.Variable    `json:"config,omitempty"`   // its configuration, without values
	Changes   *ReleaseChanges   `json:"changes,omitempty"`  // none for the first one, and for one that was never started
	names     []string          // of Settings, in their order
}

// SettingNames are the names of the settings in the order in which people read them.
func (r *ReleaseDetail) SettingNames() []string { return r.names }

// ReleaseEvent is a state that a release reached.
type ReleaseEvent struct {
	State  app.State `json:"state"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
	Code   app.Code  `json:"code,omitempty"` // kind of failure
}

// ReleaseChanges are what a release changes of the one that was live before it.
type ReleaseChanges struct {
	From     int             `json:"from"`               // version of that one
	Commit   *Changed        `json:"commit,omitempty"`   // ids
	Image    *Changed        `json:"image,omitempty"`    // references
	Settings []SettingChange `json:"settings,omitempty"` // by name
	Env      []EnvChange     `json:"env,omitempty"`      // by name

	Config []ConfigDifference `json:"config,omitempty"` // by name
}

// Changed is a value before and after; "" where there is none.
type Changed struct {
	Before string `json:"before"`
	After  string `json:"after"`
}

// SettingChange is a setting that is not the same.
type SettingChange struct {
	Name string `json:"name"`
	Changed
}

// EnvChange is a variable that came, went, or has another value.
type EnvChange struct {
	Name   string `json:"name"`
	Change string `json:"change"` // "added", "removed", "changed"
}

// ShowRelease returns one release with all that is known of it.
var ShowRelease = Operation[ReleaseOf, ReleaseDetail]{
	Declaration{Name: "release", Args: "APP vN", Does: "Show one release: commit, image, settings, events, and what it changed", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, in ReleaseOf) (ReleaseDetail, error) {
		return c.detail(ctx, in.Version)
	},
}

func (c call) detail(ctx context.Context, version int) (d ReleaseDetail, err error) {
	ledger := c.Store.Ledger(c.app)
	r, err := ledger.Find(ctx, version)
	if err != nil {
		return d, err
	}
	live, err := ledger.Live(ctx)
	if err != nil && app.CodeOf(err) != app.CodeNotFound {
		return d, err
	}
	d = ReleaseDetail{App: c.app, Release: entry(r, live.Version), Revision: r.Revision, Processes: []string{}, Events: []ReleaseEvent{}, Parts: []app.Time{}}
	for _, p := range r.Processes {
		d.Processes = append(d.Processes, p.Type)
	}
	events, err := ledger.Events(ctx, version)
	if err != nil {
		return d, err
	}
	for _, e := range events {
		d.Events = append(d.Events, ReleaseEvent{e.State, e.At, e.Reason, e.Code})
		d.Parts = append(d.Parts, e.Times...)
	}
	settings, env, err := runs(ctx, ledger, version)
	if err != nil || settings == nil {
		return d, err
	}
	d.Settings = map[string]string{}
	for _, s := range settings {
		d.names = append(d.names, s.Name)
		d.Settings[s.Name] = s.Value
	}
	d.Env = slices.Sorted(maps.Keys(env))
	if d.Changes, err = changes(ctx, ledger, r, settings, env); err != nil {
		return d, err
	}
	return d, c.detailConfig(ctx, &d)
}

// detailConfig adds the configuration of a release, and what that changed.
func (c call) detailConfig(ctx context.Context, d *ReleaseDetail) error {
	a, err := c.Store.App(ctx, c.app)
	if err != nil {
		return err
	}
	has, err := c.configurationKept(ctx, a.ID, d.Version)
	d.Config = has.Variables
	if err != nil || d.Changes == nil {
		return err
	}
	before, err := c.configurationKept(ctx, a.ID, d.Changes.From)
	d.Changes.Config = differences(before, has)
	return err
}

// configurationKept is configurationOf; of a release whose configuration is not kept any more, none.
func (c call) configurationKept(ctx context.Context, appID int64, version int) (app.Configuration, error) {
	configuration, err := c.configurationOf(ctx, appID, version)
	if app.CodeOf(err) == app.CodeNotFound {
		return app.Configuration{}, nil
	}
	return configuration, err
}

// runs returns how a release runs; nil for one that was never started.
func runs(ctx context.Context, l store.Ledger, version int) ([]release.Setting, map[string]string, error) {
	manifest, err := l.Service(ctx, version)
	if app.CodeOf(err) == app.CodeNotFound {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	return release.Settings(manifest)
}

// changes compares a release with the one that was live before it.
func changes(ctx context.Context, l store.Ledger, r app.Release, settings []release.Setting, env map[string]string) (*ReleaseChanges, error) {
	before, err := l.LiveBefore(ctx, r.Version)
	if app.CodeOf(err) == app.CodeNotFound {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	had, hadEnv, err := runs(ctx, l, before.Version)
	if err != nil {
		return nil, err
	}
	ch := &ReleaseChanges{From: before.Version, Commit: changed(before.Commit, r.Commit), Image: changed(image(before), image(r)), Env: envChanges(hadEnv, env)}
	for _, s := range settings {
		if c := changed(valueOf(had, s.Name), s.Value); c != nil {
			ch.Settings = append(ch.Settings, SettingChange{s.Name, *c})
		}
	}
	for _, s := range had {
		if valueOf(settings, s.Name) == "" {
			ch.Settings = append(ch.Settings, SettingChange{s.Name, Changed{Before: s.Value}})
		}
	}
	return ch, nil
}

func changed(before, after string) *Changed {
	if before == after {
		return nil
	}
	return &Changed{before, after}
}

func valueOf(settings []release.Setting, name string) string {
	for _, s := range settings {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

func envChanges(before, after map[string]string) []EnvChange {
	all := map[string]string{}
	for name, value := range after {
		if old, had := before[name]; !had {
			all[name] = "added"
		} else if old != value {
			all[name] = "changed"
		}
	}
	for name := range before {
		if _, has := after[name]; !has {
			all[name] = "removed"
		}
	}
	var list []EnvChange
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, EnvChange{name, all[name]})
	}
	return list
}
