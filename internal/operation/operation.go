// Package operation is everything that can be asked of gitd besides git's own verbs, each declared once: its name and arguments, the right that it takes, and
// what it needs to run. Operations take who asks and return data; internal/command renders it for people and as JSON.
//
// The right is asked in one place, before an operation runs: in Operation.Do.
package operation

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/domain"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/job"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
)

// Services are the parts of gitd that operations act on. Without a server there is the Store alone, and LogDir.
type Services struct {
	Store    *store.Store
	LogDir   string // of the logs of pushes
	Machine  *release.Machine
	Platform deploy.Platform
	Config   *secret.Configurations
	Jobs     *job.Manager
	Domains  *domain.Manager
	Events   event.Platform // nil where there are no brokers
	// Authority opens the server's own authority for certificates, and makes it where there is none.
	Authority func() (*certificate.Authority, error)
	URL       func(app string) string
	// WebhookURL returns where the requests of a webhook of an app go.
	WebhookURL func(app, name string) string
	// Warnings are what does not work where apps run, and what to do; nil while no server runs.
	Warnings func(ctx context.Context) ([]string, error)
	// Destroy removes an app: its Service, repository, cache, ledger.
	Destroy func(ctx context.Context, by app.Caller, app string) error
	// DeployKey returns the public part of the key that the app's submodules are fetched with, a new one where renew is set. ForgetHosts
	// forgets what the hosts of the submodules were known by.
	DeployKey   func(app string, renew bool) (string, error)
	ForgetHosts func(app string) error
	Database    string                           // file of the Store, for messages
	Log         func(format string, args ...any) // the server's log; may be nil
}

// Needs is what an operation needs to run. Each has what the ones before it have.
type Needs int

// What operations need.
const (
	NeedsNothing Needs = iota
	NeedsStore         // the ledger in the data directory, whether a server runs or not
	NeedsServer        // all of gitd; where no server runs, the process opens the data directory itself for as long as it takes
)

// Declaration is what is known of an operation before it runs.
type Declaration struct {
	Name        string   // the words that call it: "apps create"
	Args        string   // its arguments as people read them: "APP [vN]"; those in brackets may be left out
	Does        string   // one line
	Verb        app.Verb // the right that it takes: with an app, with the server (VerbManage), or none beyond a registered key (VerbUse)
	Needs       Needs
	Stdin       bool // reads its standard input; what is sent to any other operation is dropped
	Interactive bool // works with its client: its input as it comes, its signals, its terminal
	Streams     bool // writes while it runs, to the Out or Log of its input
	Secret      bool // its arguments may hold secrets: a log has its names alone
}

// Operation is a Declaration with what it does. Out is its data.
type Operation[In input, Out any] struct {
	Declaration
	run func(ctx context.Context, c call, in In) (Out, error)
}

// input is what an operation is given. target is the app that it is about, as it was written; "" for none.
type input interface{ target() string }

// OfApp is the input of an operation on one app: its name, as it stands in a remote's address ("hello", "/hello", "hello.git").
type OfApp struct{ App string }

func (i OfApp) target() string { return i.App }

// OfServer is the input of an operation on no app.
type OfServer struct{}

func (OfServer) target() string { return "" }

// call is one operation under way: by whom, and the app's name in its one form.
type call struct {
	*Services
	by  app.Caller
	app string
}

// Do runs the operation for by, with the rights that by has now. It returns an *app.Error if by has no right to it, if the app does not exist, or
// if the operation needs a server and none is running.
func (o Operation[In, Out]) Do(ctx context.Context, s *Services, by app.Caller, in In) (Out, error) {
	name, err := o.allow(ctx, s, by, in.target())
	if err != nil {
		var none Out
		return none, err
	}
	return o.run(ctx, call{s, by, name}, in)
}

// Allow says whether the operation can run for by, on the server or on the app that target names.
func (d Declaration) Allow(ctx context.Context, s *Services, by app.Caller, target string) error {
	_, err := d.allow(ctx, s, by, target)
	return err
}

func (d Declaration) allow(ctx context.Context, s *Services, by app.Caller, target string) (name string, err error) {
	if d.ofApp() {
		if name, err = app.ParseName(target); err != nil {
			return "", err
		}
	}
	if err := d.permitted(ctx, s, by, name); err != nil {
		return "", err
	}
	if d.Needs == NeedsServer && s.Machine == nil {
		return "", NoServer(d, "")
	}
	return name, nil
}

// permitted says whether by has the right that the operation takes, on the server or on the app with this name.
func (d Declaration) permitted(ctx context.Context, s *Services, by app.Caller, name string) error {
	_, err := s.Store.Authorize(ctx, by, name, d.Verb)
	return err
}

// ofApp says whether the operation is about one app.
func (d Declaration) ofApp() bool { return d.Verb != app.VerbUse && d.Verb != app.VerbManage }

// NoServer is the error of an operation that needs the server while none runs. data is the data directory; "" where it is not known.
func NoServer(d Declaration, data string) error {
	if data == "" {
		return app.Errorf(app.CodeUnavailable, "start it: gitd serve", "%s needs the server, which is not running", d.Name)
	}
	return app.Errorf(app.CodeUnavailable, "start it: gitd serve --data "+data+"; or name the data directory of another: --data DIR", "%s needs the server, and none is running on %s", d.Name, data)
}
