package app

import (
	"slices"
	"time"
)

// Key is a registered SSH public key: the only identity there is.
type Key struct {
	Name        string  // unique, chosen at registration
	Public      string  // authorized_keys form without the comment: "ssh-ed25519 AAAA…"
	Fingerprint string  // "SHA256:…"
	Admin       bool    // may do everything
	Apps        []Scope // when not empty, the only apps that the key may touch; it may not create any
	Added       time.Time
}

// Scope is an app that a key is bound to. It does not include another app that gets the same name later.
type Scope struct {
	Name string
	ID   int64 // the app's; 0 until an app of this name is created
}

// Same reports whether k, as it is now, is still the key that it was: the same public key with the same rights, not removed meanwhile.
// An app created for a scope is not a change.
func (k Key) Same(was Key) bool {
	return k.Name == was.Name && k.Fingerprint == was.Fingerprint && k.Admin == was.Admin && k.Added.Equal(was.Added) &&
		slices.EqualFunc(k.Apps, was.Apps, func(now, before Scope) bool {
			return now.Name == before.Name && (now.ID == before.ID || before.ID == 0)
		})
}

// Verb is an action on an app.
type Verb string

// The verbs.
const (
	VerbRead   Verb = "read"   // fetch, releases, logs
	VerbPush   Verb = "push"   // push: to an app that exists, or that the push creates
	VerbChange Verb = "change" // what a key that may push does with an app that exists: rollback, promote, its deploy key
	VerbCreate Verb = "create" // create the app, by its first push or by command
	VerbDelete Verb = "delete" // destroy it
	VerbUse    Verb = "use"    // an action on no app: only the key is checked
	VerbManage Verb = "manage" // an action on the server itself: its keys
)
