package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// Authorize decides whether caller may do verb with the app named name, by the rights that its key has at this moment. It returns the
// app, with an ID of 0 if it does not exist and the caller may create it, and otherwise an *app.Error. A key that was removed or
// changed since it was identified has no rights. With VerbUse or VerbManage, and no name, only the key is checked.
//
// This is the only place where rights are decided. A decision may be outdated by the next change: where it must hold together with
// an action, it is made in the transaction of the action (Enter, EnterPreview, CreateAppAs, WhileAllowed).
//
// The rights to a preview are those to its app: who may push the app may do everything with its previews.
func (s *Store) Authorize(ctx context.Context, caller app.Caller, name string, verb app.Verb) (app.App, error) {
	return authorize(ctx, s.db, caller, name, verb)
}

func authorize(ctx context.Context, q querier, caller app.Caller, name string, verb app.Verb) (app.App, error) {
	key, err := actingKey(ctx, q, caller)
	if err != nil {
		return app.App{}, err
	}
	if verb == app.VerbUse || verb == app.VerbManage {
		return app.App{}, app.AllowServer(key, verb)
	}
	a, err := oneApp(ctx, q, name)
	switch {
	case err == nil && a.Parent != "":
		parent, err := oneApp(ctx, q, a.Parent)
		if err != nil {
			return a, err
		}
		return a, allowed(key, &a, &parent, verb)
	case err == nil:
		return a, allowed(key, &a, nil, verb)
	case app.CodeOf(err) == app.CodeNotFound:
		err := app.Allow(key, name, nil, verb)
		if err == nil && strings.Contains(name, app.PreviewMark) {
			err = app.Errorf(app.CodeInvalidName, "choose another name; to make a preview: git push platform BRANCH", "the name %q cannot be used: names with %s are those of previews", name, app.PreviewMark)
		}
		return app.App{Name: name}, err
	}
	return a, err
}

// AppsFor returns the apps with which caller may do verb, by name, previews too. It decides as Authorize does for each of them, with as many queries
// for a thousand apps as for one.
func (s *Store) AppsFor(ctx context.Context, caller app.Caller, verb app.Verb) ([]app.App, error) {
	key, err := actingKey(ctx, s.db, caller)
	if err != nil {
		return nil, err
	}
	all, err := s.Apps(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]*app.App{}
	for i := range all {
		known[all[i].Name] = &all[i]
	}
	var may []app.App
	for i := range all {
		a := &all[i]
		parent := known[a.Parent]
		if (a.Parent == "" || parent != nil) && allowed(key, a, parent, verb) == nil {
			may = append(may, *a)
		}
	}
	return may, nil
}

// actingKey returns the key by whose rights a caller acts, as it is now.
func actingKey(ctx context.Context, q querier, caller app.Caller) (app.Key, error) {
	if caller.Local {
		key := caller.Key
		key.Admin = true
		return key, nil
	}
	return presentKey(ctx, q, caller.Key)
}

// allowed decides about an app that exists. A preview has a parent, and the rights to it are those to that: a push may remove what a push has made.
func allowed(key app.Key, a, parent *app.App, verb app.Verb) error {
	if parent == nil {
		return app.Allow(key, a.Name, a, verb)
	}
	if verb == app.VerbDelete {
		verb = app.VerbChange
	}
	return app.Allow(key, parent.Name, parent, verb)
}

// presentKey returns the key as it is now. It fails if that is not the key that was identified.
func presentKey(ctx context.Context, q querier, was app.Key) (app.Key, error) {
	const next = "ask the operator to run: gitd keys add NAME"
	keys, err := listKeys(ctx, q, "WHERE name = ?", was.Name)
	switch {
	case err != nil:
		return app.Key{}, err
	case len(keys) == 0:
		return app.Key{}, app.Errorf(app.CodeForbidden, next, "the key %s was removed", was.Name)
	case !keys[0].Same(was):
		return app.Key{}, app.Errorf(app.CodeForbidden, "connect again, with the key that is registered now", "the key %s was changed", was.Name)
	}
	return keys[0], nil
}

// Confirm is Authorize for an action that began with the app that has this ID: another app of the same name is refused.
func (s *Store) Confirm(ctx context.Context, caller app.Caller, name string, id int64, verb app.Verb) error {
	return confirm(ctx, s.db, caller, name, id, verb)
}

func confirm(ctx context.Context, q querier, caller app.Caller, name string, id int64, verb app.Verb) error {
	a, err := authorize(ctx, q, caller, name, verb)
	if id != 0 && a.ID != id && (err == nil || app.CodeOf(err) == app.CodeNotFound) {
		return app.Errorf(app.CodeNotFound, "see what there is: gitd apps", "the app %s was destroyed meanwhile", name)
	}
	return err
}

// Enter adds a release to the ledger for caller, in one transaction with the decision that it may: with the rights of this moment and,
// if r.AppID is set, for exactly that app. An app that does not exist is created and owned by the caller, unless r takes an older version live
// (r.Of). It returns the release with its version and the app's ID.
func (s *Store) Enter(ctx context.Context, caller app.Caller, r app.Release) (app.Release, error) {
	r.Key = caller.Name()
	err := s.change(ctx, func(tx *sql.Tx) error {
		if err := confirm(ctx, tx, caller, r.App, r.AppID, app.VerbPush); err != nil {
			return err
		}
		a, err := oneApp(ctx, tx, r.App)
		if app.CodeOf(err) == app.CodeNotFound && r.Of == 0 {
			a, err = s.createAs(ctx, tx, caller, r.App)
		}
		if err != nil {
			return err
		}
		r.AppID = a.ID
		r, err = s.addRelease(ctx, tx, r)
		return err
	})
	return r, err
}

// CreateAppAs creates an app owned by caller, in one transaction with the decision that it may. It returns an *app.Error: CodeExists
// if the app exists by then, whichever key owns it, or what CreateApp returns.
func (s *Store) CreateAppAs(ctx context.Context, caller app.Caller, name string) (a app.App, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		if _, err := authorize(ctx, tx, caller, name, app.VerbCreate); err != nil {
			return err
		}
		a, err = s.createAs(ctx, tx, caller, name)
		return err
	})
	return a, err
}

// createAs creates an app owned by caller, which has the right to, within the limit on its number of apps.
func (s *Store) createAs(ctx context.Context, tx querier, caller app.Caller, name string) (app.App, error) {
	if s.AppsPerKey > 0 && !caller.Local && !caller.Key.Admin {
		var has int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM apps WHERE owner = ? AND name NOT IN (SELECT app FROM previews)", caller.Key.Name).Scan(&has); err != nil {
			return app.App{}, err
		}
		if has >= s.AppsPerKey {
			return app.App{}, app.Errorf(app.CodeLimitExceeded, "destroy one that is not needed (gitd apps destroy NAME), or ask the operator (gitd serve --max-apps-per-key)",
				"the key %q owns %d apps already, as many as a key may", caller.Key.Name, has)
		}
	}
	return createApp(ctx, tx, app.App{Name: name, Owner: caller.Key.Name, Created: s.Now()})
}

// WhileAllowed calls f if caller has the right to do verb with an app. No app or key changes before f returns. f must be quick.
func (s *Store) WhileAllowed(ctx context.Context, caller app.Caller, name string, verb app.Verb, f func() error) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if _, err := authorize(ctx, tx, caller, name, verb); err != nil {
			return err
		}
		return f()
	})
}

// WhileAbsent calls f if no app has this name; none can be created before f returns. f must be quick.
func (s *Store) WhileAbsent(ctx context.Context, name string, f func() error) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		_, err := oneApp(ctx, tx, name)
		if app.CodeOf(err) != app.CodeNotFound {
			return err
		}
		return f()
	})
}
