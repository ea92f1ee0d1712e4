package receive

import (
	"context"
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/lfs"
	"github.com/gitd-io/gitd/internal/sshd"
)

// largeFiles serves git-lfs-transfer APP upload|download: Git LFS over SSH.
func (s *server) largeFiles(ss *sshd.Session, args []string) sshd.Outcome {
	const what = "git-lfs-transfer"
	refuse := func(what string, err error) sshd.Outcome {
		ss.Tell(err)
		return sshd.Outcome{What: what, Result: "refused: " + app.OneLine(err), Status: 1}
	}
	if len(args) != 2 {
		return refuse(what, app.Errorf(app.CodeInvalidInput, "install Git LFS 3.0 or newer", "%s takes the name of an app, and upload or download", what))
	}
	name, err := parseName(args[0])
	if err != nil {
		return refuse(what, err)
	}
	op := lfs.Operation(args[1])
	verb, title := app.VerbRead, "lfs download "+name
	switch op {
	case lfs.Upload:
		verb, title = app.VerbPush, "lfs upload "+name
	case lfs.Download:
	default:
		return refuse(what, app.Errorf(app.CodeInvalidInput, "install Git LFS 3.0 or newer", "unknown operation %q; use upload or download", app.Plain(app.Clip(args[1], 60))))
	}
	r := s.repositories.Of(name)
	a, err := s.authorize(ss, name, verb)
	// Objects come before the first push of an app. It is created for them, and its repository made: what lay there without an app would
	// belong to the key that creates it.
	if err == nil && a.ID == 0 {
		a, err = s.opts.Handler.Create(ss.Context(), ss.Key(), name)
	}
	if err == nil {
		err = ss.Hold(name, a.ID, verb, ss.GiveUp)
	}
	if err == nil {
		err = r.Ensure()
	}
	if err != nil {
		return refuse(title, err)
	}
	// A client that sends nothing more, and one that reads nothing more, are let go of when the session ends.
	defer context.AfterFunc(ss.Context(), func() { _ = ss.Close() })()
	heard := ss.LimitWait(s.opts.QuestionTimeout, func() {
		ss.GiveUp(stalled("the client has sent nothing for %v", s.opts.QuestionTimeout))
	})
	defer heard()
	stats, err := lfs.Serve(ss.Context(), ss.Input(), ss, op, r.LargeFiles())
	told := fmt.Sprintf("%s, %s", app.Count(stats.Objects, "object"), app.Size(stats.Bytes))
	switch cause := context.Cause(ss.Context()); {
	case cause != nil:
		return sshd.Outcome{What: title, Result: fmt.Sprintf("ended: %v; %s", cause, told), Status: 1}
	case err != nil:
		ss.Tell(err)
		return sshd.Outcome{What: title, Result: fmt.Sprintf("failed: %s; %s", app.OneLine(err), told), Status: 1, Drain: true}
	}
	return sshd.Outcome{What: title, Result: "ok; " + told}
}
