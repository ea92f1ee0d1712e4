package receive

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/sshd"
)

// optionsWait is how long a client that pushes nothing may take to send its push options. git sends them along with the end of its commands.
const optionsWait = 2 * time.Second

// nothing serves a client that has nothing to push: what is live is what it has. Its push options can ask for it to be deployed again. git reads nothing of
// such a push, but shows what comes over the session's standard error, and ends with the status of the session.
func (p *push) nothing(packets *pktline.Reader) sshd.Outcome {
	none := sshd.Outcome{Result: "nothing to push"}
	sent := make(chan []string, 1)
	go func() { // it ends with the session
		var r pushRequest
		_ = r.readOptions(&headReader{packets: packets})
		sent <- r.options
	}()
	var options []string
	select {
	case options = <-sent:
	case <-time.After(optionsWait):
	}
	if !slices.Contains(options, optionRedeploy) {
		return none
	}
	p.log = app.NewLog(p.ss.Stderr())
	err := p.redeploy(options)
	if err == nil {
		return sshd.Outcome{Result: "deployed again"}
	}
	p.log.Fail(err)
	return sshd.Outcome{Result: fmt.Sprintf("not deployed again: %s", app.OneLine(err)), Status: app.ExitStatus(err)}
}

func (p *push) redeploy(options []string) (err error) {
	if p.options, err = parsePushOptions(options); err != nil {
		return err
	}
	if err := p.options.checkAgain(); err != nil {
		return err
	}
	p.startTrace(nil)
	defer func() { p.span.EndRun(err) }()
	life := p.newLifetime()
	defer life.end()
	release, err := p.ss.Lease(life.ctx, p.name, p.app, app.VerbPush, life.cancel)
	if err != nil {
		return err
	}
	defer release()
	if p.options.Detach {
		if err := life.detach(""); err != nil {
			return err
		}
	}
	err = p.opts.Handler.Redeploy(life.ctx, p.ss.Key(), p.name, p.log)
	if e := context.Cause(life.ctx); e != nil && err != nil {
		return e
	}
	return err
}

// checkAgain refuses options that say how a commit is deployed, where there is none: what is live is started afresh, and all traffic goes to it.
func (o PushOptions) checkAgain() error {
	for _, given := range []struct {
		name string
		yes  bool
	}{{"clear-cache", o.ClearCache}, {"dry-run", o.DryRun}, {"no-traffic", o.NoTraffic}, {"canary", o.Canary > 0}, {"steps", o.Steps != ""}, {"message", o.Message != ""}} {
		if given.yes {
			return app.Errorf(app.CodeInvalidInput, "leave it out, or push a commit: git commit --allow-empty",
				"there is nothing to push, and push option %q is for a commit: redeploy starts what is live afresh, with all traffic at once", given.name)
		}
	}
	return nil
}
