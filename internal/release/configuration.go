package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
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
// A change waits for the deployment that is under way, and is made on top of what is current then. It returns an *app.Error: CodeExists if somebody else has
// changed one of its variables since it was asked for, or c.IfVersion is not the current version.
func (m *Machine) Configure(ctx context.Context, by app.Caller, name string, c ConfigChange, log *app.Log) (Configured, error) {
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange)
	if err != nil {
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

// conflict returns an *app.Error where somebody else has changed what this change is about.
func (u *configuring) conflict() error {
	if v := u.c.IfVersion; v != 0 && v != u.before.Version {
		return app.Errorf(app.CodeExists, "look at it, and decide again: gitd config "+u.a.Name, "the configuration of %s is version %d by now, not %d: %s", u.a.Name, u.before.Version, v, u.changedSince(v))
	}
	if u.before.Version == u.seen.Version {
		return nil
	}
	var mine []string
	for _, name := range changedVariables(u.seen, u.before) {
		if _, ok := u.c.Set[name]; ok || u.c.Reset || slices.Contains(u.c.Unset, name) || slices.Contains(u.c.Mark, name) {
			mine = append(mine, name)
		}
	}
	if len(mine) > 0 {
		return app.Errorf(app.CodeExists, "look at it, and decide again: gitd config "+u.a.Name, "%s has changed %s of %s meanwhile", orSomebody(u.before.By), strings.Join(mine, ", "), u.a.Name)
	}
	u.log.Detail("on top of a change by %s meanwhile: %s", orSomebody(u.before.By), strings.Join(changedVariables(u.seen, u.before), ", "))
	return nil
}

func orSomebody(name string) string {
	if name == "" {
		return "somebody"
	}
	return name
}

// changedSince says what is different from an older version.
func (u *configuring) changedSince(version int) string {
	old, err := u.m.o.Store.Configuration(context.Background(), u.a.ID, version)
	if err != nil {
		return "that version does not exist"
	}
	names := changedVariables(old, u.before)
	if len(names) == 0 {
		return "the variables are the same"
	}
	return orSomebody(u.before.By) + " has changed " + strings.Join(names, ", ")
}

// changedVariables returns the names of the variables that two configurations do not have in common, sorted.
func changedVariables(a, b app.Configuration) []string {
	names := map[string]bool{}
	for _, one := range append(slices.Clone(a.Variables), b.Variables...) {
		x, y := a.Variable(one.Name), b.Variable(one.Name)
		if x == nil || y == nil || x.Digest != y.Digest || x.Build != y.Build || x.Preview != y.Preview {
			names[one.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// merge works out the configuration that the change leads to.
func (u *configuring) merge() error {
	u.values = secret.Values{}
	var err error
	if !u.c.Reset {
		if u.values, err = u.m.o.Config.Open(u.a.Name, u.before); err != nil {
			return err
		}
	}
	kept := map[string]app.Variable{}
	for _, one := range u.before.Variables {
		kept[one.Name] = one
	}
	for _, name := range u.c.Unset {
		if _, ok := u.values[name]; !ok {
			return u.noVariable(name)
		}
		delete(u.values, name)
	}
	old, err := u.old()
	if err != nil {
		return err
	}
	u.same = len(u.c.Unset) == 0 && (!u.c.Reset || len(u.c.Set) == len(u.before.Variables))
	u.marked = u.same
	now := time.Now().UTC().Truncate(time.Millisecond)
	for name, value := range u.c.Set {
		if is, had := old[name]; !had || !bytes.Equal(is, value) {
			u.same, u.marked = false, false
			kept[name] = app.Variable{Name: name, Set: now, By: u.by.Name(), Build: kept[name].Build, Preview: kept[name].Preview}
		}
		u.values[name] = value
	}
	for _, name := range append(slices.Collect(maps.Keys(u.c.Set)), u.c.Mark...) {
		one, ok := kept[name]
		if _, has := u.values[name]; !ok || !has {
			return u.noVariable(name)
		}
		setTo(&one.Build, u.c.Build)
		setTo(&one.Preview, u.c.Preview)
		u.same = u.same && one == kept[name]
		kept[name] = one
	}
	u.marked = u.marked && !u.same
	if err := u.values.Check(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(u.values)) {
		u.variables = append(u.variables, kept[name])
	}
	return nil
}

// old is what the values were, as far as they can be read: a reset begins without them.
func (u *configuring) old() (secret.Values, error) {
	if !u.c.Reset {
		return maps.Clone(u.values), nil
	}
	if lost, err := u.m.o.Config.Lost(u.before); err != nil || lost {
		return nil, err
	}
	return u.m.o.Config.Open(u.a.Name, u.before)
}

func (u *configuring) noVariable(name string) error {
	return app.Errorf(app.CodeNotFound, "see what is set: gitd config "+u.a.Name, "%s has no variable %s", u.a.Name, app.Clip(app.Plain(name), 60))
}

// setTo sets what is asked for.
func setTo(to, asked *bool) {
	if asked != nil {
		*to = *asked
	}
}

// stage keeps the configuration for the next release.
func (u *configuring) stage(ctx context.Context) (Configured, error) {
	if err := u.m.o.Store.Confirm(ctx, u.by, u.a.Name, u.a.ID, app.VerbChange); err != nil {
		return Configured{}, err
	}
	version, err := u.m.o.Config.Add(ctx, u.a, u.by.Name(), u.variables, u.values, true)
	return Configured{Version: version, Changed: true, Staged: true}, err
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
