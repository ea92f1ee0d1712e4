package store

import (
	"context"
	"slices"

	"github.com/gitd-io/gitd/internal/app"
)

// Rights are the rights of all keys to all apps at one moment, for questions that come too often for the database. They are what Authorize decides.
type Rights struct {
	version int64
	keys    map[string]app.Key
	apps    map[int64]app.App // also those that are destroyed, until that is told
	ids     map[string]int64  // of apps, by name
}

// Rights returns the rights of this moment. It returns last where nothing has changed since.
func (s *Store) Rights(ctx context.Context, last *Rights) (*Rights, error) {
	r := &Rights{keys: map[string]app.Key{}, apps: map[int64]app.App{}, ids: map[string]int64{}}
	if err := s.db.QueryRowContext(ctx, "SELECT version FROM access").Scan(&r.version); err != nil { // before the rest: what changes meanwhile is read once more
		return nil, err
	}
	if last != nil && last.version == r.version {
		return last, nil
	}
	keys, err := s.Keys(ctx)
	if err != nil {
		return nil, err
	}
	apps, err := s.Apps(ctx)
	if err != nil {
		return nil, err
	}
	if keys = append(keys, app.Key{Name: app.Root.Name(), Admin: true}); slices.ContainsFunc(keys[:len(keys)-1], func(k app.Key) bool { return k.Name == app.Root.Name() }) {
		keys = keys[:len(keys)-1] // a key may be called so: then it counts
	}
	for _, k := range keys {
		r.keys[k.Name] = k
	}
	for _, a := range apps {
		r.apps[a.ID], r.ids[a.Name] = a, a.ID
	}
	gone, err := s.untoldEnds(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range gone {
		if !r.HasApp(a.ID) {
			r.apps[a.ID] = a
		}
	}
	return r, nil
}

// HasApp says whether there is an app with this ID.
func (r *Rights) HasApp(id int64) bool { _, yes := r.apps[id]; return yes }

// HasKey says whether there is a key of this name.
func (r *Rights) HasKey(name string) bool { _, yes := r.keys[name]; return yes }

// Owner returns the key that owns an app; "" where there is no such app.
func (r *Rights) Owner(id int64) string { return r.apps[id].Owner }

// Admin says whether a key is an administrator's.
func (r *Rights) Admin(key string) bool { return r.keys[key].Admin }

// Reads says whether a key may read an app.
func (r *Rights) Reads(key string, id int64) bool {
	k, known := r.keys[key]
	a, there := r.apps[id]
	if !known || !there {
		return false
	}
	if parent, is := r.apps[r.ids[a.Parent]]; is && a.Parent != "" {
		a = parent
	}
	return app.Allow(k, a.Name, &a, app.VerbRead) == nil
}
