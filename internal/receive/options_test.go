package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/sshd"
	"github.com/gitd-io/gitd/internal/telemetry"
)

func TestParsePushOptions(t *testing.T) {
	long := strings.Repeat("ä", maxMessage)
	for _, tt := range []struct {
		name string
		sent []string
		want PushOptions
		fail string // begins the error
	}{
		{"none", nil, PushOptions{}, ""},
		{"clear-cache", []string{"clear-cache"}, PushOptions{ClearCache: true}, ""},
		{"dry-run", []string{"dry-run"}, PushOptions{DryRun: true}, ""},
		{"detach", []string{"detach"}, PushOptions{Detach: true}, ""},
		{"message", []string{"message=a=b: ü, 100%"}, PushOptions{Message: "a=b: ü, 100%"}, ""},
		{"longest message", []string{"message=" + long}, PushOptions{Message: long}, ""},
		{"several", []string{"message=m", "detach", "clear-cache"}, PushOptions{Message: "m", Detach: true, ClearCache: true}, ""},
		{"unknown", []string{"detach", "now"}, PushOptions{}, `unknown push option "now"`},
		{"unknown with a value", []string{"ci.variable=secret"}, PushOptions{}, `unknown push option "ci.variable"`},
		{"other case", []string{"Detach"}, PushOptions{}, `unknown push option "Detach"`},
		{"blanks", []string{" detach"}, PushOptions{}, `unknown push option " detach"`},
		{"empty", []string{""}, PushOptions{}, `unknown push option ""`},
		{"escapes", []string{"a\x1b]0;x\x07\nb"}, PushOptions{}, `unknown push option "a`},
		{"endless", []string{strings.Repeat("x", 60000)}, PushOptions{}, `unknown push option "xxx`},
		{"no traffic", []string{"no-traffic", "detach"}, PushOptions{NoTraffic: true, Detach: true}, ""},
		{"dry run without traffic", []string{"no-traffic", "dry-run"}, PushOptions{}, `push options dry-run and no-traffic exclude each other`},
		{"canary", []string{"canary=10", "detach"}, PushOptions{Canary: 10, Detach: true}, ""},
		{"steps", []string{"steps=10,50"}, PushOptions{Steps: "10,50"}, ""},
		{"at once", []string{"at-once"}, PushOptions{AtOnce: true}, ""},
		{"canary of nothing", []string{"canary=0"}, PushOptions{}, `push option "canary": "0" is not a percentage from 1 to 99`},
		{"canary of all", []string{"canary=100"}, PushOptions{}, `push option "canary": "100" is not a percentage`},
		{"canary of much", []string{"canary=99999999999999999999"}, PushOptions{}, `push option "canary": "99999999999999999999" is not a percentage`},
		{"steps that fall", []string{"steps=50,10"}, PushOptions{}, `push option "steps": give at most 20 percentages`},
		{"endless steps", []string{"steps=" + strings.Repeat("1,", 30000)}, PushOptions{}, `push option "steps": give at most 20 percentages`},
		{"canary and steps", []string{"canary=1", "steps=10"}, PushOptions{}, `push options canary, steps, at-once and no-traffic exclude each other`},
		{"canary without traffic", []string{"canary=1", "no-traffic"}, PushOptions{}, `push options canary, steps, at-once and no-traffic exclude each other`},
		{"twice", []string{"detach", "detach"}, PushOptions{}, `push option "detach" is given twice`},
		{"two messages", []string{"message=a", "message=b"}, PushOptions{}, `push option "message" is given twice`},
		{"value for a switch", []string{"dry-run=no"}, PushOptions{}, `push option "dry-run" takes no value`},
		{"no value", []string{"message"}, PushOptions{}, `push option "message" needs a value: -o message=TEXT`},
		{"empty message", []string{"message= "}, PushOptions{}, `push option "message" is empty`},
		{"message too long", []string{"message=" + long + "x"}, PushOptions{}, `push option "message" is longer than 200 characters`},
		{"message of two lines", []string{"message=a\nb"}, PushOptions{}, `push option "message" must be one line`},
		{"message that turns the text around", []string{"message=a\u202eb"}, PushOptions{}, `push option "message" must be one line`},
		{"message that forges a signature with an invisible character", []string{"message=x [s\u034figned by boss SHA256:abc]"}, PushOptions{}, `push option "message" must not contain "[signed"`},
		{"message that forges a signature in full width", []string{"message=x \uff3b\uff53igned by boss SHA256:abc]"}, PushOptions{}, `push option "message" must not contain "[signed"`},
		{"message that forges a signature", []string{"message=x [Signed by boss SHA256:abc]"}, PushOptions{}, `push option "message" must not contain "[signed"`},
		{"message about what was signed", []string{"message=signed contracts"}, PushOptions{Message: "signed contracts"}, ""},
		{"message in Latin-1", []string{"message=\xe4"}, PushOptions{}, `push option "message" must be one line`},
		{"a trace to join", []string{"tracestate=a=1,b@c=2", "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			PushOptions{Parent: telemetry.Parent{Trace: telemetry.TraceID{0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c},
				Span: telemetry.SpanID{0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31}, Sampled: true, State: "a=1,b@c=2"}}, ""},
		{"a trace that cannot be joined", []string{"traceparent=00-\x1b"}, PushOptions{Warning: "warning: push option \"traceparent\" is ignored: it is not VERSION-TRACE-SPAN-FLAGS: \"00-\"\n"}, ""},
		{"dry run that detaches", []string{"detach", "dry-run"}, PushOptions{}, "push options dry-run and detach exclude each other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parsePushOptions(tt.sent)
			if tt.fail != "" {
				message, next := app.Explain(err)
				if app.CodeOf(err) != app.CodeInvalidInput || !strings.HasPrefix(message, tt.fail) || strings.ContainsAny(message+next, "\x1b\n\x07") || len(message) > 300 {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func FuzzPushOptions(f *testing.F) {
	f.Add("message=a\x00detach")
	f.Add("message=\u202e\x00clear-cache=\x00no-traffic")
	f.Fuzz(func(t *testing.T, sent string) {
		o, err := parsePushOptions(strings.Split(sent, "\x00"))
		if err != nil {
			if line := app.OneLine(err); line == "" || strings.ContainsAny(line, "\n\x00\x1b") || app.CodeOf(err) != app.CodeInvalidInput {
				t.Errorf("%q: %v", line, err)
			}
			return
		}
		if app.Plain(o.Message) != o.Message || len(o.Message) > 4*maxMessage {
			t.Errorf("message %q", o.Message)
		}
	})
}

func TestPushOptions(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("options")
	for i, tt := range []struct {
		options []string
		want    PushOptions
	}{
		{nil, PushOptions{}},
		{[]string{"-o", "clear-cache"}, PushOptions{ClearCache: true}},
		{[]string{"-o", "message=first words, then more", "-o", "clear-cache"}, PushOptions{Message: "first words, then more", ClearCache: true}},
		{[]string{"-o", "detach"}, PushOptions{Detach: true}},
		{[]string{"-o", "dry-run"}, PushOptions{DryRun: true}},
	} {
		c := fx.Commit(dir, "f", strings.Repeat("x", i))
		out := fx.Git(dir, append(append([]string{"push"}, tt.options...), "platform", "main")...)
		fx.live("options", c)
		p := fx.h.last()
		got := PushOptions{ClearCache: p.ClearCache, DryRun: p.Mode == app.ModeDryRun, NoTraffic: p.Mode == app.ModeNoTraffic, Detach: strings.Contains(out, "Detached: "), Message: p.Message}
		if got != tt.want {
			t.Errorf("%q: %+v", tt.options, got)
		}
	}

	n, live := fx.h.count(), fx.Git(dir, "rev-parse", "HEAD")
	fx.Commit(dir, "f", "refused")
	for _, tt := range []struct {
		option string
		words  []string
	}{
		{"skip-ci", []string{`remote:  !     unknown push option "skip-ci"`, `! [remote rejected] main -> main (unknown push option "skip-ci")`,
			"remote:  !     the push options are: -o clear-cache, -o dry-run, -o no-traffic, -o detach, -o canary=PERCENT, -o steps=10,50, -o at-once, -o redeploy, -o message=TEXT, -o traceparent=00-TRACE-SPAN-01, -o tracestate=KEY=VALUE"}},
		{"message", []string{`(push option "message" needs a value: -o message=TEXT)`}},
	} {
		fx.Rejected(dir, tt.words, "push", "-o", tt.option, "platform", "main")
		fx.Rejected(dir, tt.words[len(tt.words)-1:], "push", "-o", "clear-cache", "-o", tt.option, "platform", "main")
		fx.live("options", live)
	}
	if fx.h.count() != n {
		t.Error("something was deployed")
	}

	t.Run("a dry run that went well", func(t *testing.T) {
		fx.h.setDeploy(func(context.Context, *Push) error {
			return app.Errorf(app.CodeDryRun, "push without it", "dry run: the build works")
		})
		defer fx.h.setDeploy(nil)
		fx.Rejected(dir, []string{"! [remote rejected] main -> main (dry run: the build works)", "remote:  !     push without it"}, "push", "-o", "dry-run", "platform", "main")
		fx.live("options", live)
		fx.Logged("push options", "built: dry run")
	})
	t.Run("an option that is always set", func(t *testing.T) {
		fx.Git(dir, "-c", "push.pushOption=clear-cache", "push", "platform", "main")
		if p := fx.h.last(); !p.ClearCache {
			t.Errorf("%+v", p.Push)
		}
	})
}

// held makes deployments wait, for proceed or for the end of their context. The channels tell when one starts, and its cause at the end.
func (fx *fixture) held(proceed chan struct{}) (started chan *Push, ended chan error) {
	started, ended = make(chan *Push, 16), make(chan error, 16)
	fx.h.setDeploy(func(ctx context.Context, p *Push) (err error) {
		started <- p
		select {
		case <-proceed:
			p.Log.Step("a line that is not read")
			if err = p.Source.Checkout(ctx, fx.T.TempDir(), 0, 0); err == nil {
				err = p.Accept()
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		ended <- err
		return err
	})
	return started, ended
}

func TestDetach(t *testing.T) {
	for _, c := range []struct {
		name string
		idle time.Duration
		kill func(t *testing.T, git *exec.Cmd)
	}{
		{"ctrl-c", 0, func(_ *testing.T, git *exec.Cmd) { _ = syscall.Kill(-git.Process.Pid, syscall.SIGINT) }},
		{"kill -9", 0, func(_ *testing.T, git *exec.Cmd) { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL) }},
		{"kill -9 of git alone", 0, func(_ *testing.T, git *exec.Cmd) { _ = git.Process.Kill() }},
		{"kill -9 of ssh alone", 0, func(t *testing.T, git *exec.Cmd) {
			_ = syscall.Kill(processOf(t, git.Process.Pid, "ssh"), syscall.SIGKILL)
		}},
		{"frozen", 2 * time.Second, func(_ *testing.T, git *exec.Cmd) { _ = syscall.Kill(-git.Process.Pid, syscall.SIGSTOP) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fx := start(t, func(o *options) { o.ssh.IdleTimeout, o.ssh.HandshakeTimeout = c.idle, 2*c.idle })
			dir := fx.Work("detached")
			proceed := make(chan struct{})
			started, ended := fx.held(proceed)
			git := fx.Cmd(dir, "git", "push", "-o", "detach", "platform", "main")
			if err := git.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL); _ = git.Wait() }()
			gittest.Receive(t, "the deployment starts", started)
			c.kill(t, git)
			fx.Logged("push detached: the client went away; the detached release goes on")
			if c, err := fx.repos.Live(app.App{Name: "detached"}); c != "" || err != nil {
				t.Errorf("live: %q, %v", c, err)
			}
			close(proceed)
			if err := gittest.Receive(t, "the deployment ends", ended); err != nil {
				t.Error(err)
			}
			fx.Logged("push detached: main", "deployed")
			fx.live("detached", fx.Git(dir, "rev-parse", "HEAD"))
		})
	}
}

func TestDetachWithAClientThatStays(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("stays")
	out := fx.Git(dir, "push", "-o", "detach", "platform", "main")
	gittest.MustHold(t, out, "remote: -----> Detached: ", "* [new branch]      main -> main")
	fx.live("stays", fx.Git(dir, "rev-parse", "HEAD"))
	for _, l := range fx.Lines() {
		if strings.Contains(l, "went away") {
			t.Error(l)
		}
	}
}

func TestAClientThatWentAwayIsSaidOnce(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("gone")
	started, ended := fx.held(nil)
	git := fx.Cmd(dir, "git", "push", "platform", "main")
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	gittest.Receive(t, "the deployment starts", started)
	_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
	_ = git.Wait()
	if err := gittest.Receive(t, "the deployment ends", ended); !errors.Is(err, sshd.ErrGone) {
		t.Error(err)
	}
	fx.Logged("push gone: main", "failed: the client went away (status")
}

func TestDetachEndsWithTheServer(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("ends")
	started, ended := fx.held(nil)
	git := fx.Cmd(dir, "git", "push", "-o", "detach", "platform", "main")
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	gittest.Receive(t, "the deployment starts", started)
	_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
	_ = git.Wait()
	fx.Logged("the detached release goes on")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = fx.s.Shutdown(ctx)
	if err := gittest.Receive(t, "the deployment ends", ended); app.CodeOf(err) != app.CodeUnavailable {
		t.Error(err)
	}
	fx.live("ends", "")
}

// What is not here in full is not detached.
func TestDetachInThePack(t *testing.T) {
	held := &holding{limit: 8 << 20, more: make(chan struct{})}
	held.holds.Store(true)
	fx := start(t, func(o *options) { o.repo.Indexer = held })
	dir := fx.Work("half")
	junk := make([]byte, 12<<20)
	_, _ = rand.Read(junk)
	fx.Commit(dir, "junk", string(junk))
	git := fx.Cmd(dir, "git", "push", "-o", "detach", "platform", "main")
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	gittest.Eventually(t, "a part of the pack is here", func() bool {
		found, _ := filepath.Glob(filepath.Join(fx.bare("half"), "objects/tmp_objdir-*/pack/tmp_pack_*"))
		return len(found) > 0
	})
	_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
	_ = git.Wait()
	close(held.more)
	fx.Logged("push half", "failed")
	fx.live("half", "")
	if fx.h.count() > 0 {
		t.Error("it was deployed")
	}
}
