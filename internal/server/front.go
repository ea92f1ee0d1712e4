package server

import (
	"context"
	"io"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/receive"
	"github.com/gitd-io/gitd/internal/release"
)

// front is what the SSH front sees of the server.
type front Server

// Identify implements receive.Handler.
func (f *front) Identify(ctx context.Context, fingerprint string) (app.Key, error) {
	return f.store.KeyByFingerprint(ctx, fingerprint)
}

// Authorize implements receive.Handler.
func (f *front) Authorize(ctx context.Context, key app.Key, name string, verb app.Verb) (exists bool, err error) {
	a, err := f.store.App(ctx, name)
	switch {
	case err == nil:
		return true, app.Allow(key, name, &a, verb)
	case app.CodeOf(err) == app.NotFound:
		return false, app.Allow(key, name, nil, verb)
	}
	return false, err
}

// Create implements receive.Handler.
func (f *front) Create(ctx context.Context, key app.Key, name string) error {
	_, err := f.store.EnsureApp(ctx, name, key.Name)
	return err
}

// Deploy implements receive.Handler.
func (f *front) Deploy(ctx context.Context, p *receive.Push) error {
	return f.machine.Deploy(ctx, release.Push{
		App: p.App, Key: p.Key.Name, Ref: p.Ref, Commit: p.Commit, Message: message(p), Source: p.Source, Log: p.Log, Start: p.Started,
		Accept: p.Accept, Clear: p.Options.ClearCache, DryRun: p.Options.DryRun, NoTraffic: p.Options.NoTraffic,
		Entered: func(version int) { p.Version = version },
	})
}

// Command implements receive.Handler.
func (f *front) Command(ctx context.Context, key app.Key, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return (*Server)(f).command(ctx, command.Caller{Key: key}, args, stdin, stdout, stderr)
}

// message is what the ledger says of a push: its own words, and who signed it.
func message(p *receive.Push) string {
	text := p.Options.Message
	if p.Signature != nil {
		text = strings.TrimSpace(text + " [" + p.Signature.String() + "]")
	}
	return text
}
