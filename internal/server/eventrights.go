package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/store"
)

// eventRights answers brokers who gets whose events, from the rights of the store.
type eventRights struct {
	store *store.Store
	log   func(format string, args ...any)
	now   atomic.Pointer[store.Rights]
	mu    sync.Mutex // of who reads them again
}

var _ event.Rights = (*eventRights)(nil)

func (e *eventRights) refresh(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, err := e.store.Rights(ctx, e.now.Load())
	if err == nil {
		e.now.Store(r)
	}
	return err
}

// knowing returns the rights. Where they do not know an app or a key yet, it is one that was just made.
func (e *eventRights) knowing(of event.Sender, apps ...int64) *store.Rights {
	r := e.now.Load()
	if of.ID != 0 {
		apps = append(apps, of.ID)
	}
	if !slices.ContainsFunc(apps, func(id int64) bool { return !r.HasApp(id) }) && (of.Kind != event.FromKey || r.HasKey(of.Name)) {
		return r
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := e.refresh(ctx); err != nil {
		e.log("rights to events: %v", err)
	}
	return e.now.Load()
}

// Gets implements event.Rights.
func (e *eventRights) Gets(id int64, from event.Sender, keys []string) bool {
	r := e.knowing(from, id)
	owner := r.Owner(id) // "" of what root has created
	switch {
	case !r.HasApp(id):
		return false
	case from.ID == id:
		return true
	case len(keys) > 0:
		return member(r, owner, keys)
	case r.Admin(owner):
		return true
	}
	switch from.Kind {
	case event.FromApp, event.FromReply, event.FromSource:
		return r.HasApp(from.ID) && (r.Owner(from.ID) == owner || r.Reads(owner, from.ID))
	case event.FromKey:
		return from.Name == owner || r.Reads(from.Name, id)
	case event.FromToken:
		return true
	}
	return false
}

// Sends implements event.Rights.
func (e *eventRights) Sends(from event.Sender, keys []string) bool {
	if len(keys) == 0 {
		return true
	}
	r := e.knowing(from)
	switch from.Kind {
	case event.FromKey:
		return member(r, from.Name, keys)
	case event.FromApp, event.FromReply:
		return member(r, r.Owner(from.ID), keys)
	case event.FromSource:
		return from.ID == 0 || member(r, r.Owner(from.ID), keys)
	}
	return true // an administrator has made a token for this very broker
}

// member says whether a broker that was given to some keys is for one of them. Administrators may use all of them.
func member(r *store.Rights, key string, keys []string) bool {
	return r.Admin(key) || slices.Contains(keys, key)
}

// Payer implements event.Rights: who sends, or owns what sends.
func (e *eventRights) Payer(from event.Sender) string {
	switch {
	case from.ID != 0:
		return e.knowing(from).Owner(from.ID)
	case from.Kind == event.FromKey:
		return from.Name
	}
	return ""
}
