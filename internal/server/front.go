package server

import (
	"context"
	"io"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/operation"
)

// front is what SSH and pushes see of the server.
type front Server

// git asks the rights of git's own verbs.
func (f *front) git() operation.Git { return operation.Git{Store: f.store} }

// Identify implements sshd.Handler.
func (f *front) Identify(ctx context.Context, fingerprint string) (app.Key, error) {
	return f.store.KeyByFingerprint(ctx, fingerprint)
}

// Authorize implements receive.Handler.
func (f *front) Authorize(ctx context.Context, key app.Key, name string, verb app.Verb) (app.App, error) {
	return f.git().Authorize(ctx, app.Caller{Key: key}, name, verb)
}

// Confirm implements sshd.Handler.
func (f *front) Confirm(ctx context.Context, key app.Key, name string, id int64, verb app.Verb) error {
	return f.git().Confirm(ctx, app.Caller{Key: key}, name, id, verb)
}

// Create implements receive.Handler.
func (f *front) Create(ctx context.Context, key app.Key, name string) (app.App, error) {
	return f.git().Create(ctx, app.Caller{Key: key}, name)
}

// WhileAbsent implements receive.Handler.
func (f *front) WhileAbsent(ctx context.Context, name string, do func() error) error {
	return f.store.WhileAbsent(ctx, name, do)
}

// Asks implements sshd.Handler.
func (f *front) Asks(args []string) app.Asked {
	d, rest, err := command.Asked(args)
	if err != nil {
		return app.Asked{}
	}
	asked := app.Asked{Verb: app.VerbUse, Input: d.Stdin, Interactive: d.Interactive}
	if d.Interactive && len(rest) > 0 {
		if name, err := app.ParseName(rest[0]); err == nil {
			asked.App, asked.Verb = name, d.Verb
		}
	}
	return asked
}

// Loggable implements sshd.Handler.
func (f *front) Loggable(args []string) string { return command.Loggable(args) }

// Deploy implements receive.Handler.
func (f *front) Deploy(ctx context.Context, p app.Push) (app.Result, error) {
	return f.machine.Deploy(ctx, p)
}

// Redeploy implements receive.Handler.
func (f *front) Redeploy(ctx context.Context, key app.Key, name string, log *app.Log) error {
	_, err := f.machine.Redeploy(ctx, app.Caller{Key: key}, name, log)
	return err
}

// RemovePreview implements receive.Handler.
func (f *front) RemovePreview(ctx context.Context, key app.Key, name string, id int64, branch string) error {
	by := app.Caller{Key: key}
	if err := f.git().Confirm(ctx, by, name, id, app.VerbPush); err != nil {
		return err
	}
	p, err := f.store.PreviewOf(ctx, name, branch)
	if err != nil {
		return err
	}
	return (*Server)(f).destroy(ctx, by, p.Name)
}

// Command implements sshd.Handler.
func (f *front) Command(ctx context.Context, key app.Key, args []string, stdin io.Reader, stdout, stderr io.Writer, client *app.Client) int {
	return (*Server)(f).command(ctx, app.Caller{Key: key}, args, stdin, stdout, stderr, client)
}
