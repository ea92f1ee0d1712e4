package release

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
)

// ConfigChange is a change of an app's configuration.
type ConfigChange struct {
	Set       secret.Values
	Unset     []string
	Mark      []string // variables that keep their value: Build and Preview are about them, too
	Build     *bool    // whether builds see what is set or marked; nil leaves it: new variables are not seen
	Preview   *bool    // the same of the app's previews
	Reset     bool     // what is set is all of the configuration
	Stage     bool     // keep it for the next release
	IfVersion int      // only if this is the current version; 0 for any
}

// says names what the change does, in one line: "set A, B; unset C".
func (c *ConfigChange) says() string {
	var parts []string
	if names := slices.Sorted(maps.Keys(c.Set)); len(names) > 0 {
		parts = append(parts, "set "+strings.Join(names, ", "))
	}
	if len(c.Mark) > 0 {
		parts = append(parts, "mark "+strings.Join(slices.Sorted(slices.Values(c.Mark)), ", "))
	}
	if len(c.Unset) > 0 {
		parts = append(parts, "unset "+strings.Join(slices.Sorted(slices.Values(c.Unset)), ", "))
	}
	if c.Reset {
		parts = append(parts, "reset the rest")
	}
	return strings.Join(parts, "; ")
}

// Configured is what came of a ConfigChange.
type Configured struct {
	Version int        `json:"configuration"` // the current one from now on
	Changed bool       `json:"changed"`       // false: it was so already
	Staged  bool       `json:"staged"`        // it waits for the next release
	Release app.Result `json:"-"`
}

// Why a change of configuration is not a release.
var (
	errUnchanged   = errors.New("the configuration is like that already")
	errNothingLive = errors.New("nothing is live yet")
	errMarked      = errors.New("no value has changed")
)

// Configure changes an app's configuration by a release of its own: the image that is live with the new configuration, through the gate of a push. If that
// does not go live, nothing has changed. Where nothing is live yet, or c.Stage is set, the change waits for the next release.
//
// A change waits for the deployment that is under way, and is made on top of what is current then. It returns an *app.Error: CodeExists if another change has
// changed one of its variables since it was asked for, or c.IfVersion is not the current version.
func (m *Machine) Configure(ctx context.Context, by app.Caller, name string, c ConfigChange, log *app.Log) (Configured, error) {
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange)
	if err != nil {
		return Configured{}, err
	}
	if err := m.enoughDisk(); err != nil {
		return Configured{}, err
	}
	u := &configuring{m: m, a: a, by: by, c: c, log: log, unlock: func() {}}
	defer func() { u.unlock() }()
	if u.seen, err = m.o.Store.CurrentConfiguration(ctx, a.ID); err != nil {
		return Configured{}, err
	}
	if c.Stage {
		if err := u.begin(ctx); err != nil {
			return u.unchanged(err)
		}
		return u.stage(ctx)
	}
	result, err := m.change(ctx, by, name, change{
		kind: app.KindConfig, says: c.says() + " on", message: c.says(), current: true, command: true,
		find: func(l store.Ledger) (app.Release, error) { return u.find(ctx, l) },
		edit: func(ctx context.Context, _ *app.Release, service *servingv1.Service) error {
			return u.edit(ctx, service)
		},
	}, log)
	if errors.Is(err, errNothingLive) || errors.Is(err, errMarked) {
		return u.stage(ctx)
	}
	if err != nil {
		u.drop(ctx)
		return u.unchanged(err)
	}
	return Configured{Version: u.version, Changed: true, Release: result}, nil
}

// configuring is a ConfigChange under way.
type configuring struct {
	m    *Machine
	a    app.App
	by   app.Caller
	c    ConfigChange
	log  *app.Log
	seen app.Configuration // the current one when the change was asked for

	unlock    func() // of the app's configuration
	before    app.Configuration
	variables []app.Variable
	values    secret.Values
	same      bool // as before
	marked    bool // the values are as before, and not what builds or previews see
	version   int
}

// unchanged ends a change that failed, or that changes nothing.
func (u *configuring) unchanged(err error) (Configured, error) {
	if errors.Is(err, errUnchanged) {
		return Configured{Version: u.before.Version}, nil
	}
	return Configured{}, err
}

// begin takes the app's configuration for this change alone, and finds out what it will be.
func (u *configuring) begin(ctx context.Context) (err error) {
	if u.unlock, err = u.m.configuring.Acquire(ctx, u.a.Name, func() { u.log.Step("Waiting for the change of configuration that is under way") }); err != nil {
		u.unlock = func() {}
		return cause(ctx)
	}
	if u.before, err = u.m.o.Store.CurrentConfiguration(ctx, u.a.ID); err != nil {
		return err
	}
	if err := u.conflict(); err != nil {
		return err
	}
	if err := u.merge(); err != nil {
		return err
	}
	if err := u.keepsRequired(ctx); err != nil {
		return err
	}
	if u.same && u.c.Stage {
		return errUnchanged
	}
	return nil
}

// find is begin for a change that is a release: it begins with what is live.
func (u *configuring) find(ctx context.Context, l store.Ledger) (app.Release, error) {
	if err := u.begin(ctx); err != nil {
		return app.Release{}, err
	}
	if u.marked {
		return app.Release{}, errMarked
	}
	live, err := l.Live(ctx)
	if app.CodeOf(err) == app.CodeNotFound {
		if u.same {
			return live, errUnchanged
		}
		return live, errNothingLive
	}
	if err != nil || !u.same {
		return live, err
	}
	service, err := u.m.service(ctx, live)
	if err != nil {
		return live, err
	}
	if version, err := deploy.ConfigurationOf(&service.Spec.Template, u.a.Name); err != nil || version == u.before.Version {
		return live, errors.Join(err, errUnchanged)
	}
	return live, nil
}

// stage keeps the configuration for the next release.
func (u *configuring) stage(ctx context.Context) (Configured, error) {
	if err := u.m.o.Store.Confirm(ctx, u.by, u.a.Name, u.a.ID, app.VerbChange); err != nil {
		return Configured{}, err
	}
	version, err := u.m.o.Config.Add(ctx, u.a, u.by.Name(), u.variables, u.values, true)
	if err != nil {
		return Configured{}, err
	}
	if err := u.m.dropConfigurations(ctx, u.a.Name); err != nil {
		u.m.o.Log("config %s: values that nothing needs stay sealed in the database: %v", u.a.Name, err)
	}
	return Configured{Version: version, Changed: true, Staged: true}, nil
}

// edit gives the release its configuration. It becomes the current one when the release is live.
func (u *configuring) edit(ctx context.Context, service *servingv1.Service) (err error) {
	u.version = u.before.Version
	if !u.same {
		if u.version, err = u.m.o.Config.Add(ctx, u.a, u.by.Name(), u.variables, u.values, false); err != nil {
			return err
		}
	}
	deploy.SetConfiguration(&service.Spec.Template, u.a.Name, u.version)
	return nil
}

// drop forgets the values of a change that did not go live.
func (u *configuring) drop(ctx context.Context) {
	if u.version == 0 || u.version == u.before.Version {
		return
	}
	if err := u.m.o.Store.DropConfiguration(context.WithoutCancel(ctx), u.a.ID, u.version); err != nil {
		u.m.o.Log("config %s: the values of version %d, which did not go live, stay sealed in the database: %v", u.a.Name, u.version, err)
	}
}
