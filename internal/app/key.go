package app

import "time"

// Key is a registered SSH public key: the only identity there is.
type Key struct {
	Name        string   // unique, chosen at registration
	Public      string   // authorized_keys form without the comment: "ssh-ed25519 AAAA…"
	Fingerprint string   // "SHA256:…"
	Admin       bool     // may do everything
	Apps        []string // when not empty, the only apps that the key may touch; it may then create none
	Added       time.Time
}

// Verb is what a key wants to do with an app.
type Verb string

// The verbs.
const (
	Read   Verb = "read"   // fetch, releases, logs
	Push   Verb = "push"   // push, rollback, config
	Create Verb = "create" // create the app, by its first push or by command
	Delete Verb = "delete" // destroy it
)
