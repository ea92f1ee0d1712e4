// Package receive is the front of gitd: an SSH server that takes pushes, gives back what is live, and runs commands.
package receive

import (
	"context"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
)

// Push is one push to an app's main branch whose objects are in quarantine.
type Push struct {
	App       string
	Key       app.Key
	Ref       string // "refs/heads/main"
	Old       string // 40 hex digits; zeros where the app is new
	Commit    string // 40 hex digits
	Objects   int    // in the pack; 0 where the objects were here already
	Bytes     int64  // of the pack
	Options   PushOptions
	Signature *Signature // nil where the push is not signed
	Source    build.Source
	Log       *app.Log  // over the sideband
	Started   time.Time // when the client asked to push
	// Accept moves the objects out of quarantine, synced to disk: called once, before traffic shifts. The ref follows when Deploy returns nil.
	Accept func() error
	// Version is the number of the release. Deploy sets it.
	Version int
}

// Handler is what the front needs of the rest of gitd. Every error that is an *app.Error is told to the client in words.
type Handler interface {
	// Identify returns the key with this fingerprint, or an *app.Error (NotFound).
	Identify(ctx context.Context, fingerprint string) (app.Key, error)
	// Authorize says whether key may do verb with the app. For Push to an app that does not exist it also says whether
	// the key may create it (exists is then false).
	Authorize(ctx context.Context, key app.Key, name string, verb app.Verb) (exists bool, err error)
	// Create creates an app that a key may create, by what Authorize said. That it exists by now is no error.
	Create(ctx context.Context, key app.Key, name string) error
	// Deploy takes the push live, or says why not. It returns when the app is live, failed, or ctx has ended.
	Deploy(ctx context.Context, p *Push) error
	// Command runs a command such as "apps" or "logs hello -f" and returns the exit status. ctx ends when the client goes away.
	Command(ctx context.Context, key app.Key, args []string, stdin io.Reader, stdout, stderr io.Writer) int
}
