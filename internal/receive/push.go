package receive

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// push is one git push. Its stages, in this order:
//
//  1. admit: the key may push the app, and is told so as long as it may
//  2. advertise: the client learns what is live, and what it may ask for
//  3. readPushRequest: commands, push options, the certificate of a signed push
//  4. choose: which command deploys or removes a preview, and why the others do nothing; options and signature are checked before anything is taken in
//  5. receive: the pack, into a quarantine
//  6. check: tree, connectivity, large files, submodules, symlinks
//  7. deploy: build and roll out, by the Handler; the objects leave the quarantine right before traffic shifts
//  8. publish: the ref names what is live, and what only earlier commits needed goes
//  9. report: what came of each command
//
// A client that goes away ends the push up to stage 7, unless it asked to be detached. From stage 8 on nothing ends it.
type push struct {
	*server
	ss         *sshd.Session
	name       string
	repository *repository.Repository
	app        int64     // its ID when the push began; 0 where there was no app
	started    time.Time // when the client asked to push

	at    here   // stage 1 sets it
	cut   bool   // the client does not know that history is cut off before what is live
	nonce string // what the certificate of a signed push must hold

	request *pushRequest // stage 3
	options PushOptions  // stage 4
	signed  *Signature   // stage 4; nil for a push that is not signed
	band    *band
	log     *app.Log

	received bool // all that the client sends; stage 5

	span    *telemetry.Span // of all of it, from stage 4 on; nil where nothing is traced
	version int             // of the release; stage 7
}

// receivePack serves git push: stages 1 to 3, and the rest by serve.
func (s *server) receivePack(ss *sshd.Session, path string) sshd.Outcome {
	p := &push{server: s, ss: ss, nonce: newNonce(), started: time.Now()}
	var err error
	if p.name, err = parseName(path); err != nil {
		return refuse(ss, err)
	}
	o := sshd.Outcome{What: "push " + p.name}
	p.repository = s.repositories.Of(p.name)
	refs, err := p.admit()
	if err != nil {
		return o.And(refuse(ss, err))
	}
	shallow, err := p.repository.Shallow()
	if err != nil {
		return o.And(refuse(ss, err))
	}
	// A client takes it that all that came before what is live is here, wherever history is cut off.
	if p.cut = len(shallow) > 0; p.cut && p.repository.WantsAll() {
		refs, p.cut = nil, false
	}
	advertisement, err := advertise(refs, shallow, ss.Env(protocolEnv), p.nonce)
	if err != nil {
		return o.And(refuse(ss, err))
	}
	if _, err := ss.Write(advertisement); err != nil {
		return o.And(sshd.Outcome{Result: "the client went away", Status: 1})
	}
	heard := ss.LimitWait(s.opts.QuestionTimeout, func() {
		ss.GiveUp(stalled("the client has not said for %v what it pushes", s.opts.QuestionTimeout))
	})
	packets := &pktline.Reader{R: ss.Input()}
	p.request, err = readPushRequest(packets)
	heard()
	ss.Release() // what comes now has a lifetime of its own
	if e := context.Cause(ss.Context()); e != nil {
		return o.And(sshd.Outcome{Result: fmt.Sprintf("ended: %v", e), Status: 1})
	}
	if err != nil {
		fmt.Fprintf(ss.Stderr(), "gitd: %v\n", err)
		return o.And(sshd.Outcome{Result: err.Error(), Status: 1})
	}
	if p.request == nil {
		return o.And(p.nothing(packets))
	}
	return o.And(p.serve())
}

// admit asks for the right to push, and returns what is live, by ref.
func (p *push) admit() (refs map[string]string, err error) {
	a, err := p.authorize(p.ss, p.name, app.VerbPush)
	if err != nil {
		return nil, err
	}
	if err := p.ss.Hold(p.name, a.ID, app.VerbPush, p.ss.GiveUp); err != nil {
		return nil, err
	}
	p.app = a.ID
	ref, commit, err := p.repository.Live()
	if err != nil || ref == "" {
		return nil, err
	}
	if p.at.branches, err = p.repository.Branches(); err != nil {
		return nil, err
	}
	p.at.live, refs = ref, map[string]string{ref: commit}
	for branch, commit := range p.at.branches {
		refs["refs/heads/"+branch] = commit
	}
	return refs, nil
}

// parseName takes an app's name from a path as git sends it.
func parseName(path string) (string, error) { return app.ParseName(strings.TrimPrefix(path, "/")) }

// probeEvery is how often a silent push is probed: a client that was killed is noticed, and its build ended, within it.
const probeEvery = 300 * time.Millisecond

// serve runs the stages 4 to 9.
func (p *push) serve() sshd.Outcome {
	p.band = &band{w: p.ss, multi: p.request.has(capability.Sideband64k), stall: p.opts.IdleTimeout, last: time.Now(), gone: p.ss.Gone}
	p.log = app.NewLog(p.band)
	stop := make(chan struct{})
	defer close(stop)
	go p.band.keepAlive(stop, probeEvery)

	unpack, result := "ok", ""
	deploy := choose(p.request.commands, p.at, p.request.has(capability.Atomic))
	removes := slices.DeleteFunc(slices.Clone(p.request.commands), func(c *refCommand) bool { return !c.removes })
	if deploy != nil || len(removes) > 0 {
		if err := p.accepted(); err != nil {
			for _, c := range p.request.commands {
				c.reason = cmp.Or(c.reason, app.OneLine(err))
			}
			p.fail(err)
			deploy, removes = nil, nil
		}
	}
	switch {
	case deploy != nil:
		unpack, result = p.run(deploy)
	case len(removes) == 0:
		result = "refused: " + p.request.commands[0].reason
	}
	for _, c := range removes {
		result = strings.TrimPrefix(result+", "+p.removePreview(c), ", ")
	}
	if p.signed != nil {
		result += ", " + p.signed.String()
	}
	p.leaveTags(deploy)
	p.log.Flush()
	return p.report(unpack, result)
}

// accepted checks push options and the signature.
func (p *push) accepted() (err error) {
	if p.options, err = parsePushOptions(p.request.options); err != nil {
		return err
	}
	if c := p.request.certificate; c != nil {
		p.signed, err = p.verify(p.ss.Context(), c)
	}
	return err
}

// run takes the commit of a command live. It returns what the report says of the pack, and the line's result for the server's log.
func (p *push) run(c *refCommand) (unpack, result string) {
	commit := fmt.Sprintf("%s %.7s", strings.TrimPrefix(c.name, "refs/heads/"), c.new)
	p.startTrace(c)
	unpacked, err := p.take(c)
	p.endTrace(err)
	if err == nil {
		if p.options.NoTraffic {
			return "ok", commit + " deployed without traffic"
		}
		return "ok", commit + " deployed"
	}
	err = p.askForAll(err)
	c.reason = app.OneLine(err)
	p.fail(err)
	unpack, ended := "ok", "failed"
	if !unpacked {
		unpack = c.reason
	}
	if app.CodeOf(err) == app.CodeDryRun {
		ended = "built"
	}
	return unpack, fmt.Sprintf("%s %s: %s", commit, ended, c.reason)
}

// fail tells the client what went wrong, and keeps for the server's log what the client is not told.
func (p *push) fail(err error) {
	p.log.Flush()
	p.log.Fail(err)
	if app.Cause(err) != repository.ErrIncomplete.Error() { // of which the message says all
		p.ss.KeepCause(err)
	}
}
