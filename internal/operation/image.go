package operation

import (
	"context"
	"io"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pull"
	"github.com/gitd-io/gitd/internal/release"
)

// maxPassword is more than any password or token of a registry takes, in bytes.
const maxPassword = 16 << 10

// ReadyImage asks for an image that was built elsewhere to be taken live.
type ReadyImage struct {
	OfApp
	Reference string    // "registry.example.com/team/app:v1"
	Username  string    // of the registry; "" for none
	Password  io.Reader // one line; read where a user name is given
	Port      int       // that it listens on; 0 to find out
	Log       *app.Log  // is told the steps
}

// DeployImage takes an image of another registry live. An app that does not exist is created.
var DeployImage = Operation[ReadyImage, app.Result]{
	Declaration{Name: "image deploy", Args: "APP REF", Does: "Take an image live that was built elsewhere", Verb: app.VerbPush, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in ReadyImage) (app.Result, error) {
		if err := pull.CheckReference(in.Reference); err != nil {
			return app.Result{}, err
		}
		if in.Port < 0 || in.Port > 65535 {
			return app.Result{}, app.Errorf(app.CodeInvalidInput, "leave it out, or give one from 1 to 65535", "%d is not a port", in.Port)
		}
		want := release.ReadyImage{Wanted: pull.Wanted{Reference: in.Reference, Username: in.Username}, Port: in.Port}
		if in.Username != "" {
			b, err := io.ReadAll(io.LimitReader(in.Password, maxPassword+1))
			if err != nil {
				return app.Result{}, err
			}
			want.Password = strings.TrimRight(string(b), "\r\n")
			if want.Password == "" || len(b) > maxPassword {
				return app.Result{}, app.Errorf(app.CodeInvalidInput, "send it on standard input: echo \"$TOKEN\" | ssh … image deploy APP REF --username NAME", "the password of %q is missing or too long", app.Clip(in.Username, 60))
			}
		}
		return c.Machine.DeployImage(ctx, c.by, c.app, want, in.Log)
	},
}
