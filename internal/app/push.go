package app

import (
	"context"
	"time"
)

// Push is a commit that was pushed to an app, and what its sender asks for.
type Push struct {
	App        string
	AppID      int64  // of the app that By was found to have the right to; 0 where there was none yet
	By         Caller // who pushes
	Ref        string // "refs/heads/main"
	Commit     string // 40 hex digits
	Message    string // what the release is about; may be empty
	Signed     string // who signed the push; "" where it was not signed
	Mode       Mode
	ClearCache bool      // build without the app's cache
	Started    time.Time // when the client asked to push
	Log        *Log      // what the client sees
	Source     Source
	// Accept keeps the pushed objects for good: called once, before traffic shifts, or when the release is ready without.
	Accept func() error
}

// Mode is how far a push goes.
type Mode string

// The modes of a push.
const (
	ModeLive      Mode = ""           // it goes live
	ModeNoTraffic Mode = "no-traffic" // it ends in StateReady; what serves goes on serving
	ModeDryRun    Mode = "dry-run"    // it ends after the build, with an error whose code is CodeDryRun
)

// Source is the tree that was pushed.
type Source interface {
	// Checkout writes the whole tree to dir, which exists and is empty, everything owned by uid and gid. It keeps to the
	// limits on depth, number of files and bytes, and returns an *Error when the tree breaks them.
	Checkout(ctx context.Context, dir string, uid, gid int) error
	// ReadFile returns a regular file at the root of the tree, at most limit bytes long.
	// It returns fs.ErrNotExist (wrapped) where there is none.
	ReadFile(name string, limit int64) ([]byte, error)
}

// Result is what a push came to.
type Result struct {
	Version  int    // of its release; 0 where the ledger did not take it
	Revision string // that serves, or is ready to; "" where it failed before the revision was named
	URL      string // where people reach the revision; "" where it did not start
}
