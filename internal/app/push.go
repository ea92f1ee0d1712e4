package app

import (
	"context"
	"iter"
	"time"
)

// Push is a commit pushed to an app, with its options.
type Push struct {
	App        string
	AppID      int64  // of the app when By's right was checked; 0 if it did not exist yet
	By         Caller // who pushes
	Ref        string // "refs/heads/main"
	Branch     string // of a preview: "feature/x"; "" for a push that goes live. App is then the app itself
	Commit     string // 40 hex digits
	Message    string // what the release is about; may be empty
	Author     string // who wrote the commit, as the commit says, in one line; may be empty
	Subject    string // of the commit, in one line; may be empty
	Signed     string // who signed the push; "" if it was not signed
	Mode       Mode
	Rollout    Rollout
	ClearCache bool      // build without the app's cache
	Started    time.Time // when the client asked to push
	Log        *Log      // what the client sees
	Source     Source
	// Accept makes the pushed objects permanent. It is called once: before traffic shifts, or when the release is ready without traffic.
	Accept func() error
}

// Mode says how far a push goes.
type Mode string

// The modes of a push.
const (
	ModeLive      Mode = ""           // it goes live
	ModeNoTraffic Mode = "no-traffic" // it ends in StateReady; the live release continues to serve
	ModeDryRun    Mode = "dry-run"    // it ends after the build, with an error whose code is CodeDryRun
)

// Source is the tree that was pushed.
type Source interface {
	// Checkout writes the whole tree to dir, which exists and is empty, everything owned by uid and gid. It keeps to the
	// limits on depth, number of files and bytes, and returns an *Error when the tree breaks them.
	Checkout(ctx context.Context, dir string, uid, gid int) error
	// ReadFile returns a regular file at the root of the tree, at most limit bytes long.
	// It returns fs.ErrNotExist (wrapped) if there is none.
	ReadFile(name string, limit int64) ([]byte, error)
}

// Lister is a Source that can say which files it has.
type Lister interface {
	// Files are the paths of all that is no folder.
	Files() iter.Seq[string]
}

// FilesOf are the paths of a source's files; none where it cannot say.
func FilesOf(s Source) iter.Seq[string] {
	if l, ok := s.(Lister); ok {
		return l.Files()
	}
	return func(func(string) bool) {}
}

// Result is the outcome of a push.
type Result struct {
	Version  int    // of its release; 0 if it did not get into the ledger
	Revision string // its revision; "" if the push failed before it was named
	URL      string // of the release; "" if it is neither live nor ready
}
