package operation

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// How many releases of an app are returned at once: where nothing else is asked for, and at most.
const (
	DefaultReleases = 20
	MaxReleases     = 1000
)

// ReleasesOf asks for releases of an app, newest first.
type ReleasesOf struct {
	OfApp
	Before int // only those older than this version; 0 for all
	Lines  int // how many, from 1 to MaxReleases
}

// Release is one entry of an app's ledger.
type Release struct {
	Version int       `json:"version"`
	State   app.State `json:"state"`
	Serves  bool      `json:"serves"` // it is the one that is live now
	Commit  string    `json:"commit,omitempty"`
	Ref     string    `json:"ref,omitempty"` // "refs/heads/main"; of a promotion from a preview, its branch's
	Key     string    `json:"key"`           // who asked for it
	Created time.Time `json:"created"`
	Signed  string    `json:"signed,omitempty"` // who signed the push, as it was checked
	Message string    `json:"message,omitempty"`
	Author  string    `json:"author,omitempty"`  // of the commit, as it claims
	Subject string    `json:"subject,omitempty"` // of the commit
	Reason  string    `json:"reason,omitempty"`  // why it ended
	Kind    app.Kind  `json:"kind,omitempty"`
	Of      int       `json:"of,omitempty"` // the version that it begins with; 0 for a push

	Finished *time.Time `json:"finished,omitempty"` // none while it is under way
	Seconds  float64    `json:"seconds,omitempty"`  // from its entry into the ledger to its end
	Image    string     `json:"image,omitempty"`    // REPOSITORY@sha256:…; none before it is built
	Trace    string     `json:"trace,omitempty"`    // ID of its trace: 32 hexadecimal digits; none where nothing was traced
	Source   string     `json:"source,omitempty"`   // of a ready image: its reference in the registry that it came from, with the digest
}

// entry is a release as it is shown; live is the version that serves.
func entry(r app.Release, live int) Release {
	e := Release{
		Version: r.Version, State: r.State, Serves: r.State == app.StateLive && r.Version == live, Commit: r.Commit, Ref: r.Ref, Key: r.Key, Created: r.Created,
		Signed: r.Signed, Message: r.Message, Author: r.Author, Subject: r.Subject, Reason: r.Reason, Kind: r.Kind, Of: r.Of, Image: image(r), Trace: r.Trace,
	}
	if r.Commit == "" {
		e.Source, e.Ref = r.Ref, ""
	}
	if !r.Finished.IsZero() {
		e.Finished, e.Seconds = &r.Finished, r.Finished.Sub(r.Created).Seconds()
	}
	return e
}

// image is the reference of a release's image; "" for none.
func image(r app.Release) string {
	if r.Digest == "" {
		return ""
	}
	return r.Repository + "@" + r.Digest
}

// name is how people call a release.
func (r Release) name() string { return app.VersionName(r.Version) }

// ReleasePage is a part of a ledger, newest first. More says that there are older ones.
type ReleasePage struct {
	App      string    `json:"app"`
	Releases []Release `json:"releases"`
	More     bool      `json:"more"`
}

// Releases lists releases of an app.
var Releases = Operation[ReleasesOf, ReleasePage]{
	Declaration{Name: "releases", Args: "APP", Does: "List the releases of an app, newest first", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, in ReleasesOf) (ReleasePage, error) {
		p := ReleasePage{App: c.app, Releases: []Release{}}
		if in.Lines < 1 || in.Lines > MaxReleases {
			return p, app.Errorf(app.CodeInvalidInput, "see the older ones page by page: gitd releases "+c.app+" --before vN", "the number of releases is not from 1 to %d", MaxReleases)
		}
		ledger := c.Store.Ledger(c.app)
		list, err := ledger.Page(ctx, in.Before, in.Lines+1)
		if err != nil {
			return p, err
		}
		live, err := ledger.Live(ctx)
		if err != nil && app.CodeOf(err) != app.CodeNotFound {
			return p, err
		}
		p.More = len(list) > in.Lines
		for _, r := range list[:min(len(list), in.Lines)] {
			p.Releases = append(p.Releases, entry(r, live.Version))
		}
		return p, nil
	},
}

// Take asks for a release to be taken live.
type Take struct {
	OfApp
	Version int      // 0 for the one that was live before, where that can be
	Log     *app.Log // is told the steps
}

// Rollback takes an earlier release live again.
var Rollback = Operation[Take, app.Result]{
	Declaration{Name: "rollback", Args: "APP [vN]", Does: "Bring back an earlier release: its image and its configuration", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in Take) (app.Result, error) {
		return c.Machine.Rollback(ctx, c.by, c.app, in.Version, in.Log)
	},
}

// Promote takes a release live that is ready and never was live.
var Promote = Operation[Take, app.Result]{
	Declaration{Name: "promote", Args: "APP vN", Does: "Take a release live that was pushed with -o no-traffic", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in Take) (app.Result, error) {
		return c.Machine.Promote(ctx, c.by, c.app, in.Version, in.Log)
	},
}

// TakePreview asks for what is live in a preview to be taken live in the app.
type TakePreview struct {
	OfApp
	Preview string   // its branch, or its name
	Log     *app.Log // is told the steps
}

// PromotePreview takes what is live in a preview live in the app, with the app's own configuration.
var PromotePreview = Operation[TakePreview, app.Result]{
	Declaration{Name: "promote", Args: "APP", Does: "Take the image of a preview live, with the app's own configuration", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in TakePreview) (app.Result, error) {
		return c.Machine.PromotePreview(ctx, c.by, c.app, in.Preview, in.Log)
	},
}

// Redeploy starts the live release afresh in a revision of its own.
var Redeploy = Operation[Take, app.Result]{
	Declaration{Name: "redeploy", Args: "APP", Does: "Start the live release afresh, as a new release", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in Take) (app.Result, error) {
		return c.Machine.Redeploy(ctx, c.by, c.app, in.Log)
	},
}
