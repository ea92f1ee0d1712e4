package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/awake"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
)

var objectID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Bounds on what a client may send before its pack.
const (
	maxCommands    = 1000
	maxShallow     = 10000
	maxPushOptions = 64
	maxHeadBytes   = 4 << 20 // all of it together
)

// probeEvery is how often a silent push is probed: a client that was killed is noticed, and its build ended, within it.
const probeEvery = 300 * time.Millisecond

// refCommand asks for one ref to change. Reason is why it is refused; "" is yes.
type refCommand struct {
	old, new, name string
	reason         string
	result         *refResult // where it came out otherwise than the client thinks
	annotated      bool       // a tag object beside the commit that is deployed
}

func (c *refCommand) deletes() bool { return c.new == repository.ZeroID }

// pushRequest is what a client says before its pack.
type pushRequest struct {
	commands     []*refCommand
	shallow      []string
	options      []string
	capabilities map[string]string
	certificate  *pushCertificate // of a signed push; nil for any other
}

func (r *pushRequest) has(capability string) bool {
	_, ok := r.capabilities[capability]
	return ok
}

// readPushRequest reads commands and push options. It returns nil and no error when the client has nothing to push.
func readPushRequest(p *pktline.Reader) (*pushRequest, error) {
	r := &pushRequest{capabilities: map[string]string{}}
	total := 0
	for {
		line, err := p.Line()
		if err == pktline.ErrFlush {
			break
		}
		if err == io.EOF && total == 0 {
			return nil, nil
		}
		if err != nil {
			if err == io.EOF || err == pktline.ErrDelim {
				err = fmt.Errorf("%w: the commands end early", pktline.ErrProtocol)
			}
			return nil, err
		}
		text := string(line)
		if total += len(text) + 1; total > maxHeadBytes {
			return nil, fmt.Errorf("%w: too many commands", pktline.ErrProtocol)
		}
		if id, ok := strings.CutPrefix(text, "shallow "); ok {
			if !objectID.MatchString(id) || len(r.shallow) >= maxShallow {
				return nil, fmt.Errorf("%w: bad shallow line", pktline.ErrProtocol)
			}
			r.shallow = append(r.shallow, id)
			continue
		}
		if r.certificate != nil {
			return nil, fmt.Errorf("%w: more commands than were signed", pktline.ErrProtocol)
		}
		if len(r.commands) == 0 {
			head, tail, _ := strings.Cut(text, "\x00")
			text = head
			for c := range strings.FieldsSeq(tail) {
				k, v, _ := strings.Cut(c, "=")
				r.capabilities[k] = v
			}
		}
		if text == capabilityCertificate && len(r.commands) == 0 {
			if r.certificate, err = readCertificate(p); err != nil {
				return nil, err
			}
			for _, command := range r.certificate.commands {
				if err := r.add(command); err != nil {
					return nil, err
				}
			}
			continue
		}
		if err := r.add(text); err != nil {
			return nil, err
		}
	}
	if format, ok := r.capabilities["object-format"]; ok && format != "sha1" {
		return nil, fmt.Errorf("%w: object format %q", pktline.ErrProtocol, app.Clip(format, 20))
	}
	if len(r.commands) == 0 {
		return nil, nil
	}
	if !r.has("push-options") {
		return r, nil
	}
	for {
		line, err := p.Line()
		if err == pktline.ErrFlush {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		if total += len(line) + 1; total > maxHeadBytes || len(r.options) >= maxPushOptions {
			return nil, fmt.Errorf("%w: too many push options", pktline.ErrProtocol)
		}
		r.options = append(r.options, string(line))
	}
}

// add reads one command.
func (r *pushRequest) add(text string) error {
	f := strings.SplitN(strings.TrimSuffix(text, "\n"), " ", 3)
	if len(f) != 3 || !objectID.MatchString(f[0]) || !objectID.MatchString(f[1]) || f[2] == "" || strings.ContainsAny(f[2], "\x00\n") {
		return fmt.Errorf("%w: bad command %q", pktline.ErrProtocol, app.Clip(text, 100))
	}
	twice := slices.ContainsFunc(r.commands, func(c *refCommand) bool { return c.name == f[2] })
	if twice || len(r.commands) >= maxCommands {
		return fmt.Errorf("%w: too many commands, or two for one ref", pktline.ErrProtocol)
	}
	r.commands = append(r.commands, &refCommand{old: f[0], new: f[1], name: f[2]})
	return nil
}

// choose finds the command that deploys, and gives every other one the reason why it does nothing. live is the ref that is
// live now, or "". It returns nil where nothing deploys.
func choose(commands []*refCommand, live string, atomic bool) *refCommand {
	var deploy *refCommand
	hasMain := live == repository.RefMain
	for _, c := range commands {
		hasMain = hasMain || c.name == repository.RefMain && !c.deletes()
	}
	for _, c := range commands {
		branch, isBranch := strings.CutPrefix(c.name, "refs/heads/")
		switch {
		case c.deletes() && (c.name == live || c.name == repository.RefMain):
			c.reason = branch + " is live and cannot be deleted; to remove the app: apps destroy APP"
		case c.deletes():
			c.reason = "it does not exist here: only main is deployed"
		case c.name == repository.RefMain, c.name == repository.RefMaster && !hasMain:
			deploy = c
		case strings.HasPrefix(c.name, "refs/tags/"):
			c.reason = "tags are not deployed: git push platform " + app.Plain(app.Clip(c.name[len("refs/tags/"):], 60)) + "^{commit}:refs/heads/main"
		case isBranch:
			c.reason = "only main is deployed: git push platform " + app.Plain(app.Clip(branch, 60)) + ":main"
		default:
			c.reason = "only main is deployed: git push platform HEAD:main"
		}
	}
	if atomic && deploy != nil && len(commands) > 1 {
		deploy.reason = "atomic push: another ref was refused"
		deploy = nil
	}
	return deploy
}

// advertise tells the client what is here and what we understand.
func advertise(ref, commit string, shallow []string, protocol, nonce string) []byte {
	capabilities := "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent=gitd/1 push-cert=" + nonce
	var b []byte
	if protocol == "version=1" {
		b = pktline.Append(b, "version 1\n")
	}
	if ref == "" {
		b = pktline.Append(b, repository.ZeroID+" capabilities^{}\x00"+capabilities+"\n")
	} else {
		b = pktline.Append(b, commit+" "+ref+"\x00"+capabilities+"\n")
	}
	for _, id := range shallow {
		b = pktline.Append(b, "shallow "+id+"\n")
	}
	return append(b, "0000"...)
}

// receivePack serves git push.
func (s *server) receivePack(ss *sshd.Session, path string) sshd.Outcome {
	started := time.Now()
	name, err := parseName(path)
	if err != nil {
		return refuse(ss, err)
	}
	o := sshd.Outcome{What: "push " + name}
	r := s.repositories.Of(name)
	ref, commit, err := r.Live() // before asking: a ref without an app is one that outlived it
	if err != nil {
		return refuse(ss, err)
	}
	a, err := s.opts.Handler.Authorize(ss.Context(), ss.Key(), name, app.VerbPush)
	if err != nil {
		return o.And(refuse(ss, err))
	}
	if err := ss.Hold(name, a.ID, app.VerbPush, ss.GiveUp); err != nil {
		return o.And(refuse(ss, err))
	}
	if a.ID == 0 && ref != "" {
		if err := s.opts.Handler.WhileAbsent(ss.Context(), name, r.Remove); err != nil {
			return o.And(refuse(ss, err))
		}
		ref, commit = "", ""
	}
	shallow, err := r.Shallow()
	if err != nil {
		return o.And(refuse(ss, err))
	}
	// A client takes it that all that came before what is live is here, wherever history is cut off.
	p := &push{server: s, repository: r, nonce: newNonce(), ss: ss, name: name, app: a.ID, live: ref, cut: len(shallow) > 0, started: started}
	offered := ref
	if p.cut && r.WantsAll() {
		offered, p.cut = "", false
	}
	if _, err := ss.Write(advertise(offered, commit, shallow, ss.Env(protocolEnv), p.nonce)); err != nil {
		return o.And(sshd.Outcome{Result: "the client went away", Status: 1})
	}
	heard := ss.LimitWait(s.opts.QuestionTimeout, func() {
		ss.GiveUp(stalled("the client has not said for %v what it pushes", s.opts.QuestionTimeout))
	})
	request, err := readPushRequest(&pktline.Reader{R: ss.Input()})
	heard()
	ss.Release() // what comes now has a lifetime of its own
	if e := context.Cause(ss.Context()); e != nil {
		return o.And(sshd.Outcome{Result: fmt.Sprintf("ended: %v", e), Status: 1})
	}
	if err != nil {
		fmt.Fprintf(ss.Stderr(), "gitd: %v\n", err)
		return o.And(sshd.Outcome{Result: err.Error(), Status: 1})
	}
	if request == nil {
		return o.And(sshd.Outcome{Result: "nothing to push"})
	}
	p.request = request
	return o.And(p.serve())
}

// parseName takes an app's name from a path as git sends it.
func parseName(path string) (string, error) { return app.ParseName(strings.TrimPrefix(path, "/")) }

// push is one push after its commands are known.
type push struct {
	*server
	ss         *sshd.Session
	name       string
	repository *repository.Repository
	app        int64 // its ID when the push began; 0 where there was no app
	live       string
	cut        bool   // the client does not know that history is cut off before what is live
	nonce      string // what the certificate of a signed push must hold
	request    *pushRequest
	options    PushOptions
	received   bool       // all that the client sends
	signed     *Signature // nil for a push that is not signed
	started    time.Time
	band       *band
	log        *app.Log
}

func (p *push) serve() sshd.Outcome {
	p.band = &band{w: p.ss, multi: p.request.has("side-band-64k"), stall: p.opts.IdleTimeout, last: time.Now(), gone: p.ss.Gone}
	p.log = app.NewLog(p.band)
	stop := make(chan struct{})
	defer close(stop)
	go p.band.keepAlive(stop, probeEvery)

	deploy := choose(p.request.commands, p.live, p.request.has("atomic"))
	unpack, result := "ok", "refused"
	if deploy != nil {
		var err error
		if p.options, err = parsePushOptions(p.request.options); err != nil { // before anything is taken in
			deploy.reason = app.OneLine(err)
			p.fail(err)
			deploy = nil
		}
	}
	if c := p.request.certificate; deploy != nil && c != nil {
		var err error
		if p.signed, err = p.verify(p.ss.Context(), c); err != nil {
			deploy.reason = app.OneLine(err)
			p.fail(err)
			deploy = nil
		}
	}
	if deploy != nil {
		result = fmt.Sprintf("%s %.7s deployed", strings.TrimPrefix(deploy.name, "refs/heads/"), deploy.new)
		if p.options.NoTraffic {
			result += " without traffic"
		}
		unpacked, err := p.take(deploy)
		if err != nil {
			err = p.askForAll(err)
			deploy.reason = app.OneLine(err)
			ended := "failed"
			if app.CodeOf(err) == app.CodeDryRun {
				ended = "built"
			}
			result = fmt.Sprintf("%s %.7s %s: %s", strings.TrimPrefix(deploy.name, "refs/heads/"), deploy.new, ended, deploy.reason)
			if !unpacked {
				unpack = deploy.reason
			}
			p.fail(err)
		}
	} else {
		result = "refused: " + p.request.commands[0].reason
	}
	if p.signed != nil {
		result += ", " + p.signed.String()
	}
	p.leaveTags(deploy != nil && deploy.reason == "")
	p.log.Flush()
	return p.report(unpack, result)
}

// askForAll has the next push send its whole history where one fails because of what was cut off before: the first push may
// have come from a shallow clone, and this one goes back behind it.
func (p *push) askForAll(err error) error {
	var e *app.Error
	if !p.cut || !errors.Is(err, repository.ErrIncomplete) || !errors.As(err, &e) {
		return err
	}
	p.repository.SetWantsAll(true)
	return app.Wrap(err, e.Code, "push again: only the end of the history is here, and now all of it is asked for", "%s", e.Message)
}

// fail tells the client what went wrong, and keeps for the server's log what the client is not told.
func (p *push) fail(err error) {
	p.log.Flush()
	p.log.Fail(err)
	if app.Cause(err) != repository.ErrIncomplete.Error() { // of which the message says all
		p.ss.KeepCause(err)
	}
}

// take receives the pack, has it deployed, and moves the ref. unpacked is false when the pack was at fault.
func (p *push) take(c *refCommand) (unpacked bool, err error) {
	life := p.newLifetime()
	defer life.end()
	ctx := life.ctx
	release, err := p.ss.Lease(ctx, p.name, p.app, app.VerbPush, life.cancel)
	if err != nil {
		return false, err
	}
	defer release()
	defer p.repository.Read()()
	q, err := p.repository.NewQuarantine(ctx, p.request.shallow)
	if err != nil {
		return false, err
	}
	defer q.Close()
	branch := strings.TrimPrefix(c.name, "refs/heads/")
	told := p.progress(branch, c.new)
	started := time.Now()
	heard := p.ss.LimitWait(p.opts.StallTimeout, func() { life.cancel(stalled("nothing of the pack has arrived for %v", p.opts.StallTimeout)) })
	slow := awake.AfterFunc(p.opts.ReceiveTimeout, func() { life.cancel(stalled("the pack takes longer than %v", p.opts.ReceiveTimeout)) })
	stats, err := q.Index(ctx, p.ss.Input(), told.update)
	heard()
	slow.Stop()
	if e := context.Cause(ctx); e != nil {
		return false, e
	}
	if err != nil && !errors.Is(err, io.EOF) { // without a pack the objects must be here already
		return false, err
	}
	p.received = true
	p.ss.DropInput()
	switch {
	case told.begun:
		p.log.Detail("%s, %s received in %.1fs", app.Count(stats.Objects, "object"), app.Size(stats.Bytes), time.Since(started).Seconds())
	case stats.Objects == 0:
		p.log.Step("Receiving %s (%s %.7s, nothing new)", p.name, branch, c.new)
	default:
		p.log.Step("Receiving %s (%s %.7s, %s, %s)", p.name, branch, c.new, app.Count(stats.Objects, "object"), app.Size(stats.Bytes))
	}
	if p.signed != nil {
		p.log.Detail("%s", p.signed)
	}
	if err := q.Inspect(ctx, c.new); err != nil {
		return true, err
	}
	if !stats.Connected {
		if stats.Objects >= manyObjects {
			p.log.Detail("checking connectivity")
		}
		if err := q.Connected(ctx); err != nil {
			return true, err
		}
	}
	large, err := q.FindLarge(ctx)
	if err != nil {
		return true, err
	}
	if large > 0 {
		p.log.Detail("%s from Git LFS", app.Count(large, "file"))
	}
	if err := q.AddSubmodules(ctx, p.app != 0, p.log); err != nil {
		return true, err
	}
	if err := q.CheckLinks(); err != nil {
		return true, err
	}
	if err := p.findTags(ctx, q); err != nil {
		return true, err
	}
	if p.options.Detach {
		if err := life.detach(); err != nil {
			return true, err
		}
	}
	turn := p.repository.Turn()
	pushed := &Push{
		App: p.name, AppID: p.app, Key: p.ss.Key(), Ref: c.name, Old: c.old, Commit: c.new, Objects: stats.Objects, Bytes: stats.Bytes,
		Options: p.options, Signature: p.signed, Source: q.Source(), Log: p.log, Started: p.started, Accept: q.Accept,
	}
	if err := p.opts.Handler.Deploy(ctx, pushed); err != nil {
		return true, err
	}
	if p.options.NoTraffic {
		// The branch is what is live, and stays. What came to be is told under a name of its own.
		c.result = &refResult{name: fmt.Sprintf("refs/releases/v%d", pushed.Version)}
		q.Keep()
		p.repository.Maintain()
		return true, nil
	}
	// It is live: from here on the client matters no more.
	if err := q.Accept(); err != nil {
		return true, fmt.Errorf("the app is live, but its objects could not be kept: %w", err)
	}
	if p.request.has(reportV2) {
		c.result = p.compare(ctx, q, c)
	}
	if err := p.repository.SetLive(c.name, c.new, turn); err != nil {
		return true, fmt.Errorf("the app is live, but its ref could not be moved: %w", err)
	}
	if p.signed != nil {
		if err := p.repository.KeepCertificate(c.new, p.request.certificate.text); err != nil {
			p.opts.Log("certificate of %s %s: %v", p.name, c.new, err)
		}
	}
	p.repository.SetWantsAll(false)
	q.KeepLive()
	p.repository.Maintain()
	return true, nil
}

// stalled is why a push ends whose client sends nothing, or too slowly.
func stalled(format string, args ...any) error {
	return app.Errorf(app.CodeCancelled, "push again, over a better network", format, args...)
}

// manyObjects is where checking what a push leads to begins to take seconds.
const manyObjects = 50000

// transfer tells about a pack that takes long.
type transfer struct {
	log   *app.Log
	quiet bool // the client wants no percentages; git asks for this whenever its output is no terminal, so the story itself stays
	title string
	next  time.Time
	begun bool
}

// progressEvery is how long a pack may take in silence, and the time between two lines after that.
const progressEvery = 2 * time.Second

func (p *push) progress(branch, commit string) *transfer {
	return &transfer{log: p.log, quiet: p.request.has("quiet"), title: fmt.Sprintf("Receiving %s (%s %.7s)", p.name, branch, commit), next: time.Now().Add(progressEvery)}
}

func (t *transfer) update(phase string, done, of int) {
	now := time.Now()
	if t.quiet || now.Before(t.next) {
		return
	}
	if !t.begun {
		t.log.Step("%s", t.title)
		t.begun = true
	}
	t.next = now.Add(progressEvery)
	t.log.Detail("%s", progressText(phase, done, of))
}

// progressText is a line of progress: "Indexing objects:  45% (243k/542k)". It moves no cursor, which new clients would mask.
func progressText(phase string, done, of int) string {
	return fmt.Sprintf("%s: %3d%% (%s/%s)", phase, int64(done)*100/int64(max(of, 1)), thousands(done), thousands(of))
}

// thousands writes a count short: 999, 9.9k, 243k.
func thousands(n int) string {
	switch {
	case n < 1000:
		return strconv.Itoa(n)
	case n < 10_000:
		return fmt.Sprintf("%d.%dk", n/1000, n%1000/100)
	default:
		return fmt.Sprintf("%dk", n/1000)
	}
}
