// Package receive is what git and Git LFS run over SSH: it takes pushes, and gives back what is live.
package receive

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Handler is what receiving needs of the rest of gitd. Every error that is an *app.Error is told to the client in words.
type Handler interface {
	// Authorize says whether key may do verb with the app, by the rights that it has now, and returns the app. With app.VerbPush and an app that does
	// not exist it says whether the key may create it; the app's ID is then 0. With app.VerbRead that is an *app.Error.
	Authorize(ctx context.Context, key app.Key, name string, verb app.Verb) (app.App, error)
	// Create creates an app as the key's. Where there is one by now it returns that, if the key may push it, and otherwise an *app.Error.
	Create(ctx context.Context, key app.Key, name string) (app.App, error)
	// WhileAbsent calls f while there is no app of this name, and none can be created. f must be quick.
	WhileAbsent(ctx context.Context, name string, f func() error) error
	// Deploy asks for the right once more, and takes the push live, or says why not. It returns when the app is live, failed, or ctx has ended. With a Branch it
	// does so with the preview of that branch.
	Deploy(ctx context.Context, p app.Push) (app.Result, error)
	// Redeploy asks for the right once more, and starts what is live afresh, or says why not.
	Redeploy(ctx context.Context, key app.Key, name string, log *app.Log) error
	// RemovePreview removes the preview of a branch of the app with this ID. The key must have the right to push the app.
	RemovePreview(ctx context.Context, key app.Key, name string, id int64, branch string) error
}

// Options configure Verbs. Zero values stand for the defaults.
type Options struct {
	Repositories *repository.Folder
	Handler      Handler

	Began func() // is told of a push that has its rights, before its objects are read; it does not block; nil for none

	IdleTimeout     time.Duration // a client that takes nothing of what it is sent for this long is cut off; default 60 s
	QuestionTimeout time.Duration // until a client says what it wants to push, for which its hooks may take their time; also between two large files; default 1 hour
	StallTimeout    time.Duration // in which something of a pack must arrive; default 10 minutes
	ReceiveTimeout  time.Duration // that a pack may take to arrive; default 6 hours

	Log func(format string, args ...any) // the server's log

	Metrics telemetry.Releases
	Tracer  *telemetry.Tracer // nil: nothing is traced
}

// server serves the verbs of git and Git LFS.
type server struct {
	opts         Options
	repositories *repository.Folder
}

// Verbs are what git and Git LFS run over SSH.
func Verbs(o Options) map[string]sshd.Verb {
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.QuestionTimeout = cmp.Or(o.QuestionTimeout, time.Hour)
	o.StallTimeout = cmp.Or(o.StallTimeout, 10*time.Minute)
	o.ReceiveTimeout = cmp.Or(o.ReceiveTimeout, 6*time.Hour)
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	s := &server{opts: o, repositories: o.Repositories}
	verbs := map[string]sshd.Verb{
		"git-receive-pack": oneApp("git-receive-pack", s.receivePack), "git-upload-pack": oneApp("git-upload-pack", s.uploadPack),
		"git-upload-archive": noArchive, "git-lfs-transfer": s.largeFiles, "git-lfs-authenticate": noLargeFilesOverHTTP,
	}
	for _, name := range []string{"receive-pack", "upload-pack", "upload-archive"} { // how some libraries call them
		verbs["git "+name] = verbs["git-"+name]
	}
	return verbs
}

// oneApp makes a verb of what serves the repository of one app.
func oneApp(verb string, serve func(ss *sshd.Session, path string) sshd.Outcome) sshd.Verb {
	return func(ss *sshd.Session, args []string) sshd.Outcome {
		if len(args) != 1 {
			return refuse(ss, app.Errorf(app.CodeInvalidInput, "name one app: ssh://git@HOST:PORT/my-app", "%s takes the name of an app", verb))
		}
		return serve(ss, args[0])
	}
}

// authorize asks for the right to do verb with an app, which says as well whether the app exists: an ID of 0 is that of one that the verb may create.
// Then what an app of that name left on the disk is removed, which is told by its ref: a ref is written for an app that exists.
func (s *server) authorize(ss *sshd.Session, name string, verb app.Verb) (app.App, error) {
	a, err := s.opts.Handler.Authorize(ss.Context(), ss.Key(), name, verb)
	if err == nil && a.Parent != "" {
		err = app.Errorf(app.CodeInvalidInput, "use the repository of "+a.Parent+", and its branch: git push ssh://git@HOST:PORT/"+a.Parent+" "+app.Plain(a.Branch),
			"%s is a preview of %s, without a repository of its own", name, a.Parent)
	}
	if err != nil || a.ID != 0 {
		return a, err
	}
	r := s.repositories.Of(name)
	return a, s.opts.Handler.WhileAbsent(ss.Context(), name, func() error {
		ref, _, err := r.Live()
		if err != nil || ref == "" { // if there is none, it may be that another first push is under way
			return err
		}
		return r.Remove()
	})
}

func noArchive(ss *sshd.Session, _ []string) sshd.Outcome {
	ss.Tell(app.Errorf(app.CodeInvalidInput, "use: git clone", "git archive is not served"))
	return sshd.Outcome{What: "git-upload-archive", Result: "refused", Status: 1}
}

// noLargeFilesOverHTTP answers what Git LFS asks where the transfer over SSH has failed, and before 3.0 at once.
func noLargeFilesOverHTTP(ss *sshd.Session, _ []string) sshd.Outcome {
	ss.Tell(app.Errorf(app.CodeInvalidInput, "install Git LFS 3.0 or newer, which transfers over SSH; where it is there: git config lfs.ssh.autoMultiplex false", "Git LFS works over SSH only"))
	return sshd.Outcome{What: "git-lfs-authenticate", Result: "refused", Status: 1}
}

// protocolEnv is how a client says which version of git's protocol it speaks.
const protocolEnv = "GIT_PROTOCOL"

// gitProtocol is what protocolEnv may hold (gitprotocol-v2); keys that come after the version are left out.
var gitProtocol = pattern.New(`^(?:[a-z0-9=._-]+:)*(version=[012])(?::[a-z0-9=._-]+)*$`)

// Env are the environment variables that the verbs read.
func Env() map[string]func(string) (string, bool) {
	return map[string]func(string) (string, bool){protocolEnv: func(value string) (string, bool) {
		m := gitProtocol.FindStringSubmatch(value)
		if m == nil {
			return "", false
		}
		return m[1], true
	}}
}

// Greeting tells a person who asks for a shell what there is.
func Greeting(key app.Key) string {
	return fmt.Sprintf("Hello %s, this is gitd. There is no shell here.\n\n"+
		"  deploy:    git remote add platform ssh://git@HOST:PORT/my-app\n"+
		"             git push platform main\n"+
		"  commands:  ssh -p PORT git@HOST help\n", key.Name)
}

// refuse tells a git client, before the advertisement, why it is turned away: "fatal: remote error: …".
func refuse(ss *sshd.Session, err error) sshd.Outcome {
	message, next := app.Explain(err)
	if next != "" {
		message += "\n" + next
	}
	_, _ = ss.Write(pktline.Append(nil, "ERR "+message))
	ss.KeepCause(err)
	return sshd.Outcome{What: "git", Result: "refused: " + app.OneLine(err), Status: 128}
}
