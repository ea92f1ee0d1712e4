package receive

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/gitd-io/gitd/internal/app"
)

// uploadSettings show what is live and nothing else, and allow partial clones by the filters that cost no more than a whole one.
var uploadSettings = []string{
	"-c", "uploadpack.hideRefs=refs/", "-c", "uploadpack.hideRefs=!" + refMain, "-c", "uploadpack.hideRefs=!" + refMaster,
	"-c", "uploadpack.allowFilter=true", "-c", "uploadpackfilter.allow=false", "-c", "uploadpackfilter.blob:none.allow=true",
	"-c", "uploadpackfilter.blob:limit.allow=true", "-c", "uploadpackfilter.tree.allow=true", "-c", "uploadpackfilter.tree.maxDepth=16",
}

// uploadPack serves git clone, fetch and ls-remote: what is live, and nothing else.
func (s *Server) uploadPack(ss *session, path string) outcome {
	name, err := parseName(path)
	if err != nil {
		return ss.refuse(err)
	}
	o := outcome{what: "fetch " + name}
	a, err := s.opts.Handler.Authorize(ss.ctx, ss.key, name, app.VerbRead)
	if err == nil && a.ID == 0 {
		err = app.Errorf(app.CodeNotFound, "create it with its first push: git push platform main", "there is no app %s", name)
	}
	if err == nil {
		err = s.store.ensure(name)
	}
	if err == nil {
		err = ss.hold(name, a.ID, app.VerbRead, ss.end)
	}
	if err != nil {
		return o.and(ss.refuse(err))
	}
	defer s.store.state(name).read()()
	repository := objects{repository: s.store.path(name)}
	c := repository.command(ss.ctx, slices.Concat(uploadSettings, []string{"upload-pack", "--strict", repository.repository})...)
	if ss.protocol != "" {
		c.Env = append(c.Env, "GIT_PROTOCOL="+ss.protocol)
	}
	in, err := c.StdinPipe()
	if err != nil {
		return o.and(ss.refuse(err))
	}
	var complaint tail
	c.Stdout, c.Stderr = ss.ch, &complaint
	if err := c.Start(); err != nil {
		return o.and(ss.refuse(err))
	}
	go func() { // ends with the channel
		defer in.Close()
		_, _ = io.CopyBuffer(struct{ io.Writer }{in}, struct{ io.Reader }{ss.in}, make([]byte, 64<<10))
	}()
	err = c.Wait()
	switch {
	case context.Cause(ss.ctx) != nil:
		return o.and(outcome{result: fmt.Sprintf("ended: %v", context.Cause(ss.ctx)), status: 1})
	case err != nil:
		g := &gitError{command: "upload-pack", lines: complaint.lines(), err: err}
		if g.says("hung up unexpectedly") { // git ls-remote and a fetch of nothing end like that
			return o.and(outcome{result: "the client hung up", status: 128})
		}
		_, _ = io.WriteString(ss.ch.Stderr(), "gitd: the repository cannot be read; the server's log has the details\n")
		ss.keepCause(g)
		return o.and(outcome{result: "failed", status: 128})
	}
	return o.and(outcome{result: "ok"})
}
