package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// silent is a platform whose checks are not answered.
type silent struct {
	Platform
	err error
}

func (s silent) Probe(ctx context.Context, _, _, _ string) (int, error) {
	if s.err == nil {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 0, s.err
}

func (s silent) WaitReady(context.Context, string, string) error { return nil }

func (s silent) Ended(context.Context, string, string, time.Time) error { return nil }

func (s silent) Logs(context.Context, string, LogOptions, io.Writer) error { return nil }

// TestUnanswered checks that a check says why it was not answered, and who can do something about it.
func TestUnanswered(t *testing.T) {
	for _, c := range []struct {
		err        error
		want, next string
	}{
		{nil, "", "see what the app wrote"},
		{errors.New("no answer"), "", "see what the app wrote"},
		{fmt.Errorf("GET http://green-a.example.com/: %w", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "green-a.example.com", Err: "no such host"}}),
			": the name green-a.example.com cannot be resolved (no such host)", "--ingress HOST:PORT"},
		{&net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, Err: errors.New("connection refused")},
			": no connection to 10.0.0.1:80 (connection refused)", "--ingress HOST:PORT"},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, "", "see what the app wrote"},
	} {
		r := &rollout{Platform: silent{err: c.err}, plan: Plan{Check: Check{Path: "/", Timeout: 20 * time.Millisecond}, Log: app.NewLog(io.Discard)}}
		message, next := app.Explain(r.check(t.Context()))
		if want := "health check failed: HTTP GET / was not answered for " + app.Elapsed(r.plan.Check.Timeout) + c.want; message != want || !strings.Contains(next, c.next) {
			t.Errorf("%v: %s / %s", c.err, message, next)
		}
	}
}

// cut is a platform that answers a check once, and is in the middle of the next answer when the time is over.
type cut struct {
	silent
	asked *int
}

func (c cut) Probe(ctx context.Context, _, _, _ string) (int, error) {
	if *c.asked++; *c.asked == 1 {
		return 500, nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestCutAnswer: the attempt that the end of the check's time cuts short does not hide what was answered before it.
func TestCutAnswer(t *testing.T) {
	r := &rollout{Platform: cut{asked: new(int)}, plan: Plan{Check: Check{Path: "/", Timeout: 400 * time.Millisecond}, Log: app.NewLog(io.Discard)}}
	message, _ := app.Explain(r.check(t.Context()))
	if !strings.Contains(message, "answered with status 500 (Internal Server Error)") {
		t.Error(message)
	}
}

// TestSplit checks the traffic of a rollout's steps: it adds up to 100, and tags go where they belong.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		before string // revision percent [tag], …
		green  string
		step   int64
		last   bool
		want   string
	}{
		{"", "v1", 0, false, "v1 100 green"},
		{"", "v1", 100, true, "v1 100"},
		{"v1 100", "v2", 0, false, "v2 0 green, v1 100"},
		{"v1 100", "v2", 30, false, "v2 30 green, v1 70"},
		{"v1 100", "v2", 100, true, "v2 100"},
		{"v2 100, v1 0 blue", "v3", 0, false, "v3 0 green, v2 100"}, // the tag is of an older gitd
		{"v2 100, v1 0 blue", "v3", 100, true, "v3 100"},
		{"v2 100, v1 0 blue", "v1", 0, false, "v1 0 green, v2 100"}, // rollback
		{"v2 100, v1 0 blue", "v1", 100, true, "v1 100"},
		{"v2 100, v1 0 blue", "v2", 0, false, "v2 100 green"}, // what serves already
		{"v2 100, v1 0 blue", "v2", 100, true, "v2 100"},
		{"v1 34, v2 33, v3 33 canary", "v4", 50, false, "v4 50 green, v1 17, v2 16, v3 17, v3 0 canary"},
		{"v1 34, v2 33, v3 33 canary", "v4", 100, true, "v4 100, v3 0 canary"},
		{"v1 90, v2 10 green", "v2", 50, false, "v2 50 green, v1 50"},
	} {
		r := &rollout{green: c.green, shares: map[string]int64{}}
		for part := range strings.SplitSeq(c.before, ", ") {
			f := append(strings.Fields(part), "")
			if part == "" {
				continue
			}
			var n int64
			if _, err := fmt.Sscan(f[1], &n); err != nil {
				t.Fatal(err)
			}
			r.traffic = append(r.traffic, servingv1.TrafficTarget{RevisionName: f[0], Percent: ptr.Int64(n), Tag: f[2]})
			if n > 0 {
				r.blue = append(r.blue, f[0])
				r.shares[f[0]] = n
			}
		}
		var got []string
		sum := int64(0)
		for _, t := range r.split(c.step, c.last) {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %d %s", t.RevisionName, *t.Percent, t.Tag)))
			sum += *t.Percent
		}
		if s := strings.Join(got, ", "); s != c.want || sum != 100 {
			t.Errorf("%s; %s at %d%% (last %t):\n got %s\nwant %s", c.before, c.green, c.step, c.last, s, c.want)
		}
	}
}
