package contract

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Env is a platform under test.
type Env struct {
	Platform deploy.Platform
	Address  string // host:port that takes requests for all Services
	Domain   string
	Image    string                 // reference of the image that the factory was given
	Reopen   func() deploy.Platform // ends the process's part of the platform and opens it again

	// Progress is the progress deadline of starts that are expected to exceed it; a good start takes less. Default 2s.
	Progress string
	// Start is the progress deadline of starts that are expected to succeed, on a busy machine. Default 30s.
	Start string
	// Check is the timeout of health checks, also of those that are expected to fail. Default 3 s.
	Check time.Duration
	// Rest is the pause of a client under load between two requests.
	Rest time.Duration
	// User returns the UID:GID that the instances of a Service run as; nil where it is the image's user.
	User func(service string) string
	// HidesPorts says why the platform cannot name the ports that an app listens on instead of $PORT; "" where it can.
	HidesPorts string
	// EndsStreams says why the timeout of a Service ends a response that has begun as well; "" where it does not.
	EndsStreams string
	// Edit changes a Service behind gitd's back, as the field manager Editor. It is nil where Services cannot be edited; NoEdit says why.
	Edit   func(ctx context.Context, service string, change func(*servingv1.Service)) error
	NoEdit string
	// Collect removes a revision as the platform does by itself with a revision that is unused for long.
	Collect func(ctx context.Context, service, revision string) error
	// Measures says that the platform knows what instances use.
	Measures bool
	// Down waits until the platform itself knows that a revision fails whose app crashes repeatedly. It is nil where that is immediate.
	Down func(ctx context.Context, service, revision string) error
}

// Editor is the field manager of edits by hand.
const Editor = "by-hand"

// Run runs the suite. open makes a platform and puts the image into its registry.
func Run(t *testing.T, open func(t *testing.T, img v1.Image) *Env) {
	file := build(t)
	s := &suite{env: open(t, imageOf(t, file)), program: file}
	s.env.Progress = cmp.Or(s.env.Progress, "2s")
	s.env.Start = cmp.Or(s.env.Start, "30s")
	s.env.Check = cmp.Or(s.env.Check, 3*time.Second)
	s.client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.env.Address)
		}}}
	t.Cleanup(s.client.CloseIdleConnections)
	t.Run("parallel", func(t *testing.T) {
		for _, c := range s.cases() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
		}
	})
	t.Run("restart", s.restart)
	t.Run("killed in mid-rollout", s.killed)
}

// cases are the tests that share the platform: each has Services of its own. The longest are the last: go test starts those first.
func (s *suite) cases() []testCase {
	return []testCase{
		{"create and update", s.update},
		{"traffic split and tags", s.split},
		{"counters", s.counters},
		{"timeout", s.timeout},
		{"canary", s.canary},
		{"canary without requests", s.unasked},
		{"sticky split", s.sticky},
		{"maintenance", s.maintenance},
		{"held requests", s.held},
		{"held requests over HTTP/2", s.heldHTTP2},
		{"domains", s.domains},
		{"failed first release", s.failedFirst},
		{"scale to zero and back", s.zero},
		{"configuration", s.configuration},
		{"given user", s.givenUser},
		{"secrets", s.secrets},
		{"delete", s.delete},
		{"logs", s.logs},
		{"concurrent updates", s.concurrent},
		{"invalid input", s.invalid},
		{"missing image", s.missing},
		{"cancelled rollout", s.cancelled},
		{"steps", s.steps},
		{"without traffic", s.noTraffic},
		{"drift", s.drift},
		{"collected revision", s.collected},
		{"process", s.process},
		{"process names", s.processNames},
		{"run", s.run},
		{"run with a terminal", s.terminals},
		{"started run", s.startedRun},
		{"workers", s.workers},
		{"without web", s.withoutWeb},
		{"instances", s.instances},
		{"stop", s.stop},
		{"HTTP/2", s.http2},
		{"rollback", s.rollback},
		{"writes", s.writes},
		{"failed revisions", s.failed},
		{"broken blue", s.brokenBlue},
	}
}

type testCase struct {
	name string
	run  func(*testing.T)
}

type suite struct {
	env     *Env
	client  *http.Client
	program string // the test app, on this machine
}
