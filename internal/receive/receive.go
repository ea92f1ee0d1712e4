// Package receive is the front of gitd: an SSH server that takes pushes, gives back what is live, and runs commands.
package receive

import (
	"context"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Push is one push to an app's main branch whose objects are in quarantine.
type Push struct {
	App       string
	AppID     int64 // of the app when the key was found to have the right; 0 where there was no app yet
	Key       app.Key
	Ref       string // "refs/heads/main"
	Old       string // 40 hex digits; zeros where the app is new
	Commit    string // 40 hex digits
	Objects   int    // in the pack; 0 where the objects were here already
	Bytes     int64  // of the pack
	Options   PushOptions
	Signature *Signature // nil where the push is not signed
	Source    app.Source
	Log       *app.Log  // over the sideband
	Started   time.Time // when the client asked to push
	// Accept moves the objects out of quarantine, synced to disk: called once, before traffic shifts. The ref follows when Deploy returns nil.
	Accept func() error
	// Version is the number of the release. Deploy sets it.
	Version int
}

// Handler is what the front needs of the rest of gitd. Every error that is an *app.Error is told to the client in words.
type Handler interface {
	// Identify returns the key with this fingerprint, or an *app.Error (CodeNotFound).
	Identify(ctx context.Context, fingerprint string) (app.Key, error)
	// Authorize says whether key may do verb with the app, by the rights that it has now, and returns the app. For Push to an app that does
	// not exist it says whether the key may create it; the app's ID is then 0.
	Authorize(ctx context.Context, key app.Key, name string, verb app.Verb) (app.App, error)
	// Confirm says whether key still may do verb with the app that has this ID; 0 for one that did not exist. With verb app.VerbUse it says whether
	// the key still is what it was.
	Confirm(ctx context.Context, key app.Key, name string, id int64, verb app.Verb) error
	// Create creates an app as the key's. Where there is one by now it returns that, if the key may push it, and otherwise an *app.Error.
	Create(ctx context.Context, key app.Key, name string) (app.App, error)
	// WhileAbsent calls f while there is no app of this name, and none can be created. f must be quick.
	WhileAbsent(ctx context.Context, name string, f func() error) error
	// ReadsInput says whether a command reads its standard input.
	ReadsInput(args []string) bool
	// Deploy asks for the right once more, and takes the push live, or says why not. It returns when the app is live, failed, or ctx has ended.
	Deploy(ctx context.Context, p *Push) error
	// Command runs a command such as "apps" or "logs hello -f" and returns the exit status. ctx ends when the client goes away.
	Command(ctx context.Context, key app.Key, args []string, stdin io.Reader, stdout, stderr io.Writer) int
}
