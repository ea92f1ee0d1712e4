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
	Parent  string // the app that this one is a preview of; "" for any other
	Branch  string // of a preview: "feature/x"
}

// Live returns the app in whose repository a ref names what is live of a, and the branch; "" for main.
func (a App) Live() (name, branch string) {
	if a.Parent != "" {
		return a.Parent, a.Branch
	}
	return a.Name, ""
}

// Process is a process type in the image of a build.
type Process struct {
	Type    string   `json:"type"` // "web", "worker", …
	Command []string `json:"command"`
	Args    []string `json:"args,omitempty"`
	Default bool     `json:"default,omitempty"`
}

// State is the state of a release. internal/release has the table of transitions.
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
	StateReady      State = "ready" // started and healthy, without traffic, as requested
	StateFailed     State = "failed"
	StateCancelled  State = "cancelled"
	StateSuperseded State = "superseded"
)

// Final reports whether s is an end state.
func (s State) Final() bool {
	return s == StateLive || s == StateReady || s == StateFailed || s == StateCancelled || s == StateSuperseded
}

// Kind is the origin of a release.
type Kind string

// The kinds of releases.
const (
	KindPush      Kind = "push"
	KindRollback  Kind = "rollback"  // to a release that was live
	KindPromotion Kind = "promotion" // of a release that was ready and never live
	KindRedeploy  Kind = "redeploy"  // of the live release, as it is
	KindConfig    Kind = "config"    // a change of the configuration: the live release with another one
	KindScale     Kind = "scale"     // the live release with other numbers of instances
	KindRebase    Kind = "rebase"    // the live release on a newer run image
	KindImage     Kind = "image"     // an image of another registry; without a commit, its Ref is the reference of the image
)

// Release is one entry of an app's ledger. Entries are added and never rewritten: its state and what is known with it (image, reason)
// follow as events.
type Release struct {
	App        string
	AppID      int64 // the app's ID; 0 in entries that are read from the ledger
	Version    int   // 1, 2, …
	State      State
	Reason     string // why it failed, was cancelled or superseded
	Commit     string // 40 hex digits; "" for a ready image
	Ref        string // "refs/heads/main"; of a ready image, its reference with the digest
	Key        string // name of the key that pushed
	Signed     string // who signed the push, verified; "" if it was not signed
	Message    string // of the push option message; may be empty
	Author     string // who wrote the commit, as the commit says; may be empty
	Subject    string // of the commit; may be empty
	Trace      string // ID of its trace, 32 hex digits; "" for none
	Repository string // repository of the image in the registry: the app's name
	Digest     string // "sha256:…"
	Processes  []Process
	Revision   string // name of the revision that serves it: "hello-v3"; a rollback and a promotion name the older one's
	Kind       Kind
	Of         int // the version that this one begins with, with its image and configuration; 0 for a push
	Created    time.Time
	Finished   time.Time // zero until State is final
}

// Time is what one part of a release took.
type Time struct {
	Part         string `json:"part"` // "receive", "queue", "analyze", "detect", "build", "export", "start", "shift"
	Milliseconds int64  `json:"ms"`
}

// VersionName is how people call a release: "v3".
func VersionName(version int) string { return fmt.Sprintf("v%d", version) }

// RevisionName names the revision of an app's release: "hello-v3".
func RevisionName(app string, version int) string { return fmt.Sprintf("%s-v%d", app, version) }
