package app

import (
	"fmt"
	"time"
)

// App is a deployed program with a name, a git repository and a ledger of releases.
type App struct {
	ID      int64 // from 1; never given to a second app, also not when this one was destroyed
	Name    string
	Owner   string // name of the key that created it
	Created time.Time
}

// Process is a process type that a build left in the image.
type Process struct {
	Type    string   `json:"type"` // "web", "worker", …
	Command []string `json:"command"`
	Args    []string `json:"args,omitempty"`
	Default bool     `json:"default,omitempty"`
}

// State is where a release stands. internal/release holds the table of transitions.
type State string

// The states of a release.
const (
	StateReceived   State = "received"
	StateBuilding   State = "building"
	StateBuilt      State = "built"
	StateReleasing  State = "releasing"
	StateStarting   State = "starting"
	StateShifting   State = "shifting"
	StateLive       State = "live"
	StateReady      State = "ready" // started and healthy, without traffic: it was asked for so
	StateFailed     State = "failed"
	StateCancelled  State = "cancelled"
	StateSuperseded State = "superseded"
)

// Final says whether no transition leads out of s.
func (s State) Final() bool {
	return s == StateLive || s == StateReady || s == StateFailed || s == StateCancelled || s == StateSuperseded
}

// Kind says where a release comes from.
type Kind string

// The kinds of releases.
const (
	KindPush      Kind = "push"
	KindRollback  Kind = "rollback"  // to a release that was live
	KindPromotion Kind = "promotion" // of a release that was ready, and never live
)

// Release is one entry of an app's ledger. Entries are added, and never rewritten: only State and what the states after it
// bring (image, reason) grow, each as an event.
type Release struct {
	App        string
	AppID      int64 // the app's ID; 0 in entries that are read from the ledger
	Version    int   // 1, 2, …
	State      State
	Reason     string // why it failed, was cancelled or superseded
	Commit     string // 40 hex digits
	Ref        string // "refs/heads/main"
	Key        string // name of the key that pushed
	Signed     string // who signed the push, as it was checked; "" where it was not signed
	Message    string // what it is about, in the words of who pushed; may be empty
	Repository string // repository of the image in the registry: the app's name
	Digest     string // "sha256:…"
	Processes  []Process
	Revision   string // name of the revision that serves it: "hello-v3"; a rollback and a promotion name the older one
	Kind       Kind
	Of         int // the version that a rollback or a promotion takes live, with its image and configuration; 0 for a push
	Created    time.Time
	Finished   time.Time // zero until State is final
}

// RevisionName names the revision of an app's release: "hello-v3".
func RevisionName(app string, version int) string { return fmt.Sprintf("%s-v%d", app, version) }
