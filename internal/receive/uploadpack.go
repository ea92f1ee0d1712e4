package receive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
)

// uploadPack serves git clone, fetch and ls-remote: what is live, and nothing else.
func (s *server) uploadPack(ss *sshd.Session, path string) sshd.Outcome {
	name, err := parseName(path)
	if err != nil {
		return refuse(ss, err)
	}
	o := sshd.Outcome{What: "fetch " + name}
	r := s.repositories.Of(name)
	a, err := s.authorize(ss, name, app.VerbRead)
	if err == nil {
		err = r.Ensure()
	}
	if err == nil {
		err = ss.Hold(name, a.ID, app.VerbRead, ss.End)
	}
	if err != nil {
		return o.And(refuse(ss, err))
	}
	err = r.UploadPack(ss.Context(), ss.Env(protocolEnv), ss.Input(), ss)
	var g *repository.GitError
	switch {
	case context.Cause(ss.Context()) != nil:
		return o.And(sshd.Outcome{Result: fmt.Sprintf("ended: %v", context.Cause(ss.Context())), Status: 1})
	case err == nil:
		return o.And(sshd.Outcome{Result: "ok"})
	case !errors.As(err, &g): // it has not begun
		return o.And(refuse(ss, err))
	case repository.HungUp(err):
		return o.And(sshd.Outcome{Result: "the client hung up", Status: 128})
	}
	_, _ = io.WriteString(ss.Stderr(), "gitd: the repository cannot be read; the server's log has the details\n")
	ss.KeepCause(err)
	return o.And(sshd.Outcome{Result: "failed", Status: 128})
}
