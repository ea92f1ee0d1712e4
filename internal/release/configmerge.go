package release

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/secret"
)

// conflict returns an *app.Error where another change has changed what this change is about.
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
		return app.Errorf(app.CodeExists, "look at it, and decide again: gitd config "+u.a.Name, "%s has changed %s of %s meanwhile", changedBy(u.before.By), strings.Join(mine, ", "), u.a.Name)
	}
	u.log.Detail("on top of a change by %s meanwhile: %s", changedBy(u.before.By), strings.Join(changedVariables(u.seen, u.before), ", "))
	return nil
}

func changedBy(name string) string {
	if name == "" {
		return "another change"
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
	return changedBy(u.before.By) + " has changed " + strings.Join(names, ", ")
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
