// Package contract says in tests what deploy.Platform promises. Every platform runs the same suite, with real images.
package contract

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Env is a platform under test.
type Env struct {
	Platform deploy.Platform
	Address  string // host:port that takes requests for all Services
	Domain   string
	Image    string                 // reference of the image that the factory was given
	Reopen   func() deploy.Platform // ends the process's part of the platform and opens it again

	// Progress is the progress deadline of a start that is to run into it; a good start fits in. Default 2s.
	Progress string
	// Start is the progress deadline of a good start, on a machine that is busy. Default 30s.
	Start string
	// Check is the time of health checks, also of those that are to fail. Default 3 s.
	Check time.Duration
	// Rest is what a client under load waits between two requests.
	Rest time.Duration
	// User returns the UID:GID that the instances of a Service run as, where it is not the image's; nil where it is.
	User func(service string) string
	// HidesPorts says why the platform cannot name the ports that an app listens on instead of $PORT; "" where it can.
	HidesPorts string
	// Edit changes a Service behind gitd's back, as a field manager of the name Editor. It is nil where NoEdit says why nobody can.
	Edit   func(ctx context.Context, service string, change func(*servingv1.Service)) error
	NoEdit string
	// Collect removes a revision as the platform does by itself with one that is not used for long.
	Collect func(ctx context.Context, service, revision string) error
	// Down returns when the platform itself knows that a revision fails whose app ends again and again. It is nil where that is at once.
	Down func(ctx context.Context, service, revision string) error
}

// Editor is who edits Services by hand.
const Editor = "somebody"

// Run runs the suite. open makes a platform and puts the image into its registry.
func Run(t *testing.T, open func(t *testing.T, img v1.Image) *Env) {
	s := &suite{env: open(t, Image(t))}
	s.env.Progress = cmp.Or(s.env.Progress, "2s")
	s.env.Start = cmp.Or(s.env.Start, "30s")
	s.env.Check = cmp.Or(s.env.Check, 3*time.Second)
	s.client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.env.Address)
		}}}
	t.Cleanup(s.client.CloseIdleConnections)
	t.Run("parallel", func(t *testing.T) {
		for name, f := range map[string]func(*testing.T){
			"create and update": s.update, "traffic split and tags": s.split, "failed revisions": s.failed, "failed first release": s.failedFirst,
			"rollback": s.rollback, "scale to zero and back": s.zero, "configuration": s.configuration, "delete": s.delete, "logs": s.logs,
			"concurrent updates": s.concurrent, "invalid input": s.invalid, "missing image": s.missing, "cancelled rollout": s.cancelled,
			"steps": s.steps, "without traffic": s.noTraffic, "broken blue": s.brokenBlue, "drift": s.drift, "collected revision": s.collected, "process": s.process, "process names": s.processNames, "workers": s.workers, "HTTP/2": s.http2,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t)
			})
		}
	})
	t.Run("restart", s.restart)
	t.Run("killed in mid-rollout", s.killed)
}

type suite struct {
	env    *Env
	client *http.Client
}

// service is a Service of the test app whose revision is NAME-VERSION.
func (s *suite) service(name, version string, env ...string) *servingv1.Service {
	svc := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	svc.Spec.Template.Name = name + "-" + version
	svc.Spec.Template.Annotations = map[string]string{"serving.knative.dev/progress-deadline": s.env.Start}
	c := corev1.Container{Image: s.env.Image, Env: []corev1.EnvVar{{Name: "VERSION", Value: version}}}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: k, Value: v})
	}
	svc.Spec.Template.Spec.Containers = []corev1.Container{c}
	return svc
}

func traffic(svc *servingv1.Service, targets ...string) *servingv1.Service {
	for _, t := range targets {
		var revision, tag string
		var n int64
		if _, err := fmt.Sscanf(t+" -", "%s %d %s", &revision, &n, &tag); err != nil {
			panic(err)
		}
		svc.Spec.Traffic = append(svc.Spec.Traffic, servingv1.TrafficTarget{RevisionName: revision, Percent: ptr.Int64(n), Tag: strings.Trim(tag, "-")})
	}
	return svc
}

// stays keeps an instance of a Service, however short the platform's patience with idle ones is.
func stays(svc *servingv1.Service) *servingv1.Service {
	svc.Spec.Template.Annotations["autoscaling.knative.dev/min-scale"] = "1"
	return svc
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// roll rolls a Service out and returns what was told.
func (s *suite) roll(t *testing.T, svc *servingv1.Service) (string, *deploy.Outcome, error) {
	t.Helper()
	var b bytes.Buffer
	out, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: svc, Log: app.NewLog(&b), Check: deploy.Check{Timeout: s.env.Check}})
	return b.String(), out, err
}

func (s *suite) mustRoll(t *testing.T, svc *servingv1.Service) (string, *deploy.Outcome) {
	t.Helper()
	told, out, err := s.roll(t, svc)
	if err != nil {
		t.Fatalf("roll out %s: %v\n%s", svc.Spec.Template.Name, err, told)
	}
	return told, out
}

// get asks LABEL.DOMAIN.
func (s *suite) get(ctx context.Context, label, path string) (int, string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+label+"."+s.env.Domain+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := s.client.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func (s *suite) want(t *testing.T, label, path, body string) {
	t.Helper()
	code, got, err := s.get(within(t), label, path)
	if err != nil || code != http.StatusOK || got != body {
		t.Fatalf("%s%s: %d %q, %v; want %q", label, path, code, got, err, body)
	}
}

// unreached says that nothing answers at LABEL.DOMAIN.
func (s *suite) unreached(t *testing.T, label string) {
	t.Helper()
	if code, body, err := s.get(within(t), label, "/"); err != nil || code != http.StatusNotFound {
		t.Errorf("%s: %d %q, %v; want 404", label, code, body, err)
	}
}

// load sends requests until stop is called, which returns how many succeeded and what failed.
func (s *suite) load(label string) (stop func() (int64, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var ok atomic.Int64
	var mu sync.Mutex
	var failed []string
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for ctx.Err() == nil {
				code, body, err := s.get(context.Background(), label, "/sleep?ms=2")
				if err != nil || code != http.StatusOK {
					mu.Lock()
					failed = append(failed, fmt.Sprintf("%d %s %v", code, body, err))
					mu.Unlock()
					continue
				}
				ok.Add(1)
				time.Sleep(s.env.Rest)
			}
		})
	}
	return func() (int64, []string) {
		cancel()
		wait.Wait()
		return ok.Load(), failed
	}
}

func (s *suite) describe(t *testing.T, name string) map[string]deploy.RevisionStatus {
	t.Helper()
	list, err := s.env.Platform.Describe(within(t), name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]deploy.RevisionStatus{}
	for _, r := range list {
		out[r.Name] = r
	}
	return out
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		i := strings.Index(rest, p)
		if i < 0 {
			t.Fatalf("no %q (in this place) in:\n%s", p, text)
		}
		rest = rest[i+len(p):]
	}
}

func (s *suite) update(t *testing.T) {
	told, out := s.mustRoll(t, s.service("update", "v1"))
	contains(t, told, "       healthy after ", " (HTTP GET / 200)\n", "-----> Traffic: update-v1 0% → 100%\n")
	if out.Revision != "update-v1" || len(out.Previous) != 0 || !strings.HasPrefix(out.URL, "http://update."+s.env.Domain) || out.Status != 200 {
		t.Errorf("outcome: %+v", out)
	}
	s.want(t, "update", "/", "v1")
	stop := s.load("update")
	for _, v := range []string{"v2", "v3", "v4"} {
		told, out = s.mustRoll(t, s.service("update", v))
	}
	ok, failed := stop()
	if len(failed) > 0 || ok == 0 {
		t.Errorf("%d requests were answered, %d failed: %s", ok, len(failed), failed[:min(3, len(failed))])
	}
	contains(t, told, "-----> Traffic: update-v3 100% → 0%, update-v4 0% → 100%\n")
	if !slices.Equal(out.Previous, []string{"update-v3"}) {
		t.Errorf("previous: %v", out.Previous)
	}
	s.want(t, "update", "/", "v4")
	s.unreached(t, "blue-update")
	if code, _, _ := s.get(within(t), "green-update", "/"); code != http.StatusNotFound {
		t.Errorf("green answers %d after the rollout", code)
	}
	states := s.describe(t, "update")
	if states["update-v4"].Percent != 100 || states["update-v3"].Percent != 0 || len(states["update-v3"].Tags) > 0 {
		t.Errorf("revisions: %+v", states)
	}
	eventually(t, "update-v2, which nothing reaches, is gone", func() bool { return s.describe(t, "update")["update-v2"].Instances == 0 })
	svc, err := s.env.Platform.Get(within(t), "update")
	if err != nil || svc.Status.LatestCreatedRevisionName != "update-v4" || len(svc.Status.Traffic) != 1 {
		t.Errorf("status: %+v, %v", svc.Status, err)
	}
}

func (s *suite) split(t *testing.T) {
	s.mustRoll(t, s.service("split", "v1"))
	s.mustRoll(t, s.service("split", "v2"))
	if err := s.env.Platform.Apply(within(t), traffic(s.service("split", "v2"), "split-v1 70", "split-v2 30 canary")); err != nil {
		t.Fatal(err)
	}
	s.want(t, "canary-split", "/", "v2")
	n := map[string]int{}
	for range 300 {
		_, body, err := s.get(within(t), "split", "/")
		if err != nil {
			t.Fatal(err)
		}
		n[body]++
	}
	if n["v1"]+n["v2"] != 300 || n["v2"] < 50 || n["v2"] > 130 {
		t.Errorf("70/30 became %v", n)
	}
	if code, _, _ := s.get(within(t), "other-split", "/"); code != http.StatusNotFound {
		t.Errorf("a tag that is not there answers %d", code)
	}
	if status, err := s.env.Platform.Probe(within(t), "split", "canary", "/"); status != 200 || err != nil {
		t.Errorf("probe: %d, %v", status, err)
	}
	if _, err := s.env.Platform.Probe(within(t), "split", "other", "/"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("probe of a tag that is not there: %v", err)
	}
	if err := s.env.Platform.DeleteRevision(within(t), "split", "split-v1"); err == nil {
		t.Error("a revision with traffic was deleted")
	}
	// A rollout from a split shifts all of it.
	told, _ := s.mustRoll(t, s.service("split", "v3"))
	contains(t, told, "-----> Traffic: split-v1 70% → 0%, split-v2 30% → 0%, split-v3 0% → 100%\n")
	s.want(t, "canary-split", "/", "v2")
}

func (s *suite) failed(t *testing.T) {
	s.mustRoll(t, s.service("failed", "v1"))
	elsewhere, patience := "the app listens on port 9999, not on $PORT (8080)", s.env.Start
	if s.env.HidesPorts != "" {
		t.Log(s.env.HidesPorts)
		elsewhere, patience = "the app did not listen on $PORT (8080) within "+s.env.Progress, s.env.Progress
	}
	for i, c := range []struct {
		env, deadline string
		code          app.Code
		message, told string
	}{
		{"MODE=exit", s.env.Start, app.CodeStartFailed, "the app exited with status 3 before it answered", "cannot find the database\n"},
		{"MODE=dies", s.env.Start, app.CodeStartFailed, "the app exited with status 3 before it answered", "cannot find the database\n"},
		{"MODE=elsewhere", patience, app.CodeStartFailed, elsewhere, "starts as"},
		{"MODE=never", s.env.Progress, app.CodeStartFailed, "the app did not listen on $PORT (8080) within " + s.env.Progress, "starts as"},
		{"MODE=hog", s.env.Start, app.CodeStartFailed, "the app was killed at its memory limit: 64 MiB", ""},
		{"MODE=broken", s.env.Start, app.CodeUnhealthy, "health check failed: HTTP GET / answered with status 500 (Internal Server Error) for " + app.Elapsed(s.env.Check), "a request that fails\n"},
	} {
		version := fmt.Sprint("v", i+2)
		svc := s.service("failed", version, c.env)
		svc.Spec.Template.Annotations["serving.knative.dev/progress-deadline"] = c.deadline
		svc.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
		stop := s.load("failed")
		told, _, err := s.roll(t, svc)
		ok, failed := stop()
		if app.CodeOf(err) != c.code || err.Error() != c.message {
			t.Errorf("%s: %q (%s), want %q\n%s", c.env, err, app.CodeOf(err), c.message, told)
		}
		contains(t, told, c.told)
		if ok == 0 || len(failed) > 0 {
			t.Errorf("%s: %d requests were answered, %d failed: %s", c.env, ok, len(failed), failed[:min(3, len(failed))])
		}
		if states := s.describe(t, "failed"); len(states) != 1 || states["failed-v1"].Percent != 100 || len(states["failed-v1"].Tags) != 0 {
			t.Errorf("%s: left %+v", c.env, states)
		}
	}
	s.want(t, "failed", "/", "v1")
}

// brokenBlue: what serves crashes, and goes on doing so. What fails says its own words and is cleared away, and a good release goes live.
func (s *suite) brokenBlue(t *testing.T) {
	until := time.Now().Add(10*time.Second + 2*s.env.Check)
	s.mustRoll(t, stays(s.service("broken", "v1", fmt.Sprintf("UNTIL=%d", until.Unix()))))
	time.Sleep(time.Until(until))
	eventually(t, "what serves is down", func() bool {
		code, _, err := s.get(within(t), "broken", "/")
		return err == nil && code != http.StatusOK
	})
	if s.env.Down != nil {
		if err := s.env.Down(within(t), "broken", "broken-v1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ version, env, message string }{
		{"v2", "MODE=exit", "the app exited with status 3 before it answered"},
		{"v3", "MODE=broken", "health check failed: HTTP GET / answered with status 500 (Internal Server Error) for " + app.Elapsed(s.env.Check)},
	} {
		told, _, err := s.roll(t, s.service("broken", c.version, c.env))
		if err == nil || err.Error() != c.message {
			t.Errorf("%s: %v, want %q\n%s", c.env, err, c.message, told)
		}
		if states := s.describe(t, "broken"); len(states) != 1 || len(states["broken-v1"].Tags) != 0 {
			t.Errorf("%s: left %+v\n%s", c.env, states, told)
		}
	}
	told, _ := s.mustRoll(t, s.service("broken", "v4"))
	contains(t, told, "Traffic: broken-v1 100% → 0%, broken-v4 0% → 100%")
	s.want(t, "broken", "/", "v4")
}

func (s *suite) failedFirst(t *testing.T) {
	_, _, err := s.roll(t, s.service("first", "v1", "MODE=exit"))
	if app.CodeOf(err) != app.CodeStartFailed {
		t.Errorf("%v", err)
	}
	if _, err := s.env.Platform.Get(within(t), "first"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("a Service is left: %v", err)
	}
	eventually(t, "nothing answers", func() bool {
		code, _, _ := s.get(within(t), "first", "/")
		return code == http.StatusNotFound
	})
	s.mustRoll(t, s.service("first", "v1"))
	s.want(t, "first", "/", "v1")
}

func (s *suite) rollback(t *testing.T) {
	for _, v := range []string{"v1", "v2", "v3"} {
		s.mustRoll(t, s.service("rollback", v))
	}
	began := time.Now()
	told, _ := s.mustRoll(t, s.service("rollback", "v2"))
	t.Logf("rollback to a revision that runs: %v", time.Since(began))
	contains(t, told, "-----> Traffic: rollback-v3 100% → 0%, rollback-v2 0% → 100%\n")
	s.want(t, "rollback", "/", "v2")
	// A revision that was deleted comes back as it was.
	if err := s.env.Platform.DeleteRevision(within(t), "rollback", "rollback-v1"); err != nil {
		t.Fatal(err)
	}
	s.mustRoll(t, s.service("rollback", "v1"))
	s.want(t, "rollback", "/", "v1")
	// A failed rollback leaves the older revision there. v3 is idle or gone by now; its check is made to fail.
	_, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: s.service("rollback", "v3"), Log: app.NewLog(io.Discard),
		OnState: func(app.State) error { return app.Errorf(app.CodeForbidden, "", "refused") }})
	if app.CodeOf(err) != app.CodeForbidden {
		t.Errorf("%v", err)
	}
	s.want(t, "rollback", "/", "v1")
	if _, ok := s.describe(t, "rollback")["rollback-v3"]; !ok {
		t.Error("the older revision was deleted")
	}
	// Rolling out what serves already changes nothing.
	s.mustRoll(t, s.service("rollback", "v1"))
	s.want(t, "rollback", "/", "v1")
}

func (s *suite) zero(t *testing.T) {
	svc := s.service("zero", "v1", "DELAY=200")
	svc.Spec.Template.Annotations["autoscaling.knative.dev/window"] = "6s"
	s.mustRoll(t, svc)
	eventually(t, "no instance is left", func() bool { return s.describe(t, "zero")["zero-v1"].Instances == 0 })
	var wait sync.WaitGroup
	var failed atomic.Int64
	for range 200 {
		wait.Go(func() {
			if code, body, err := s.get(within(t), "zero", "/"); err != nil || code != http.StatusOK || body != "v1" {
				failed.Add(1)
			}
		})
	}
	wait.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 200 requests to a cold app failed", n)
	}
}

func (s *suite) configuration(t *testing.T) {
	s.mustRoll(t, s.service("configuration", "v1", "COLOUR=red"))
	s.want(t, "configuration", "/env?name=COLOUR", "red")
	svc := s.service("configuration", "v2", "COLOUR=blue")
	svc.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 5000}}
	s.mustRoll(t, svc)
	for name, value := range map[string]string{"COLOUR": "blue", "PORT": "5000", "K_SERVICE": "configuration", "K_REVISION": "configuration-v2",
		"K_CONFIGURATION": "configuration", "FROM_IMAGE": "yes", "HOME": "/app", "VERSION": "v2"} {
		s.want(t, "configuration", "/env?name="+name, value)
	}
	user := "1000:1001" // the image's
	if s.env.User != nil {
		user = s.env.User("configuration")
	}
	s.want(t, "configuration", "/who", user+" /app")
	if err := s.env.Platform.Apply(within(t), s.service("configuration", "v1", "COLOUR=green")); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a revision was changed: %v", err)
	}
}

func (s *suite) delete(t *testing.T) {
	s.mustRoll(t, s.service("delete", "v1"))
	s.mustRoll(t, s.service("delete", "v2"))
	if err := s.env.Platform.Delete(within(t), "delete"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing answers", func() bool {
		code, _, _ := s.get(within(t), "delete", "/")
		return code == http.StatusNotFound
	})
	p, ctx := s.env.Platform, within(t)
	_, describe := p.Describe(ctx, "delete")
	_, get := p.Get(ctx, "delete")
	_, probe := p.Probe(ctx, "delete", "blue", "/")
	for what, err := range map[string]error{
		"delete": p.Delete(ctx, "delete"), "describe": describe, "get": get, "probe": probe, "delete revision": p.DeleteRevision(ctx, "delete", "delete-v1"),
		"wait ready": p.WaitReady(ctx, "delete", "delete-v1"), "wait drained": p.WaitDrained(ctx, "delete", "delete-v1"),
		"logs": p.Logs(ctx, "delete", deploy.LogOptions{}, io.Discard),
	} {
		if !errors.Is(err, deploy.ErrNotFound) {
			t.Errorf("%s after delete: %v", what, err)
		}
	}
	s.mustRoll(t, s.service("delete", "v1", "COLOUR=new")) // the name is free again
	s.want(t, "delete", "/env?name=COLOUR", "new")
}

func (s *suite) logs(t *testing.T) {
	s.mustRoll(t, stays(s.service("logs", "v1")))
	for i := range 5 {
		s.want(t, "logs", fmt.Sprintf("/say?line=line-%d", i), "")
	}
	read := func(o deploy.LogOptions) string {
		var b bytes.Buffer
		if err := s.env.Platform.Logs(within(t), "logs", o, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	eventually(t, "the log is complete", func() bool { return strings.Contains(read(deploy.LogOptions{}), "line-4") })
	contains(t, read(deploy.LogOptions{}), "[logs-v1 ", "] v1 starts as ", "line-0\n", "line-4\n")
	if lines := strings.Split(strings.TrimSpace(read(deploy.LogOptions{Tail: 2})), "\n"); len(lines) != 2 || !strings.HasSuffix(lines[1], "] line-4") {
		t.Errorf("tail: %q", lines)
	}
	last := time.Time{}
	for line := range strings.Lines(read(deploy.LogOptions{})) {
		at, _, _ := strings.Cut(line, " ")
		when, err := time.Parse(deploy.LogTime, at)
		if err != nil || when.Before(last) || time.Since(when).Abs() > time.Hour {
			t.Errorf("after %s: %s", last, line)
		}
		last = when
	}
	ctx, cancel := context.WithCancel(within(t))
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- s.env.Platform.Logs(ctx, "logs", deploy.LogOptions{Follow: true, Tail: 1}, w)
		w.Close()
	}()
	seen := make(chan string, 100)
	go func() {
		defer close(seen)
		var text []byte
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			text = append(text, buf[:n]...)
			for {
				i := bytes.IndexByte(text, '\n')
				if i < 0 {
					break
				}
				seen <- string(text[:i])
				text = text[i+1:]
			}
			if err != nil {
				return
			}
		}
	}()
	until := func(part string) {
		t.Helper()
		for {
			select {
			case l, ok := <-seen:
				if !ok {
					t.Fatalf("the log ended before %q", part)
				}
				if strings.Contains(l, part) {
					return
				}
			case <-time.After(2 * time.Minute):
				t.Fatalf("no %q in two minutes", part)
			}
		}
	}
	until("line-4")
	s.want(t, "logs", "/say?line=followed", "")
	until("followed")
	s.mustRoll(t, stays(s.service("logs", "v2")))
	until("v2 starts as ")
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("follow: %v", err)
	}
	text := read(deploy.LogOptions{Revision: "logs-v2"})
	contains(t, text, "[logs-v2 ")
	if strings.Contains(text, "[logs-v1 ") {
		t.Error("the log of one revision has lines of another")
	}
}

func (s *suite) concurrent(t *testing.T) {
	s.mustRoll(t, s.service("concurrent", "v0"))
	stop := s.load("concurrent")
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			v := fmt.Sprint("v", i+1)
			svc := traffic(s.service("concurrent", v), "concurrent-"+v+" 100")
			if err := s.env.Platform.Apply(within(t), svc); err != nil {
				t.Errorf("%s: %v", v, err)
			}
		})
	}
	wait.Wait()
	svc, err := s.env.Platform.Get(within(t), "concurrent")
	if err != nil {
		t.Fatal(err)
	}
	winner := svc.Spec.Template.Name
	if len(svc.Status.Traffic) != 1 || svc.Status.Traffic[0].RevisionName != winner {
		t.Errorf("the template is %s, the traffic %+v", winner, svc.Status.Traffic)
	}
	s.want(t, "concurrent", "/env?name=K_REVISION", winner)
	if ok, failed := stop(); len(failed) > 0 || ok == 0 {
		t.Errorf("%d requests were answered, %d failed: %s", ok, len(failed), failed[:min(3, len(failed))])
	}
}

func (s *suite) invalid(t *testing.T) {
	for name, change := range map[string]func(*servingv1.Service){
		"no revision name": func(v *servingv1.Service) { v.Spec.Template.Name = "" },
		"other prefix":     func(v *servingv1.Service) { v.Spec.Template.Name = "other-v1" },
		"no container":     func(v *servingv1.Service) { v.Spec.Template.Spec.Containers = nil },
		"reserved env": func(v *servingv1.Service) {
			v.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PORT", Value: "1"}}
		},
		"99 percent":       func(v *servingv1.Service) { traffic(v, "invalid-v1 99") },
		"unknown revision": func(v *servingv1.Service) { traffic(v, "invalid-v7 100") },
		"same tag twice":   func(v *servingv1.Service) { traffic(v, "invalid-v1 50 x", "invalid-v1 50 x") },
		"timeout":          func(v *servingv1.Service) { v.Spec.Template.Spec.TimeoutSeconds = ptr.Int64(-1) },
		"bounds":           func(v *servingv1.Service) { v.Spec.Template.Annotations["autoscaling.knative.dev/min-scale"] = "many" },
		"name":             func(v *servingv1.Service) { v.Name = "In_valid" },
		"path as a name":   func(v *servingv1.Service) { v.Name = "../x" },
	} {
		svc := s.service("invalid", "v1")
		change(svc)
		if err := s.env.Platform.Apply(within(t), svc); app.CodeOf(err) != app.CodeInvalidInput || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.env.Platform.Get(within(t), "invalid"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("something is left: %v", err)
	}
}

func (s *suite) missing(t *testing.T) {
	s.mustRoll(t, s.service("missing", "v1"))
	svc := s.service("missing", "v2")
	repository, _, _ := strings.Cut(s.env.Image, "@")
	svc.Spec.Template.Spec.Containers[0].Image = repository + "@sha256:" + strings.Repeat("0", 64)
	_, _, err := s.roll(t, svc)
	if app.CodeOf(err) != app.CodeImageMissing || !strings.HasPrefix(err.Error(), "the image of v2 is no longer in the registry: ") {
		t.Errorf("%v", err)
	}
	s.want(t, "missing", "/", "v1")
}

func (s *suite) cancelled(t *testing.T) {
	s.mustRoll(t, s.service("cancelled", "v1"))
	newer := app.Errorf(app.CodeSuperseded, "", "a newer push replaced this one")
	ctx, cancel := context.WithCancelCause(within(t))
	go func() {
		for ctx.Err() == nil {
			if list, err := s.env.Platform.Describe(ctx, "cancelled"); err == nil && len(list) == 2 {
				cancel(newer)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := deploy.Rollout(ctx, s.env.Platform, deploy.Plan{Service: s.service("cancelled", "v2", "MODE=never"), Log: app.NewLog(io.Discard)})
	cancel(nil)
	if !errors.Is(err, newer) {
		t.Errorf("%v", err)
	}
	if states := s.describe(t, "cancelled"); len(states) != 1 {
		t.Errorf("left: %+v", states)
	}
	s.want(t, "cancelled", "/", "v1")
}

func (s *suite) noTraffic(t *testing.T) {
	plan := func(version string) deploy.Plan {
		return deploy.Plan{Service: s.service("quiet", version), Log: app.NewLog(io.Discard), NoTraffic: true}
	}
	if _, err := deploy.Rollout(within(t), s.env.Platform, plan("v0")); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a first release without traffic: %v", err)
	}
	s.mustRoll(t, s.service("quiet", "v1"))
	out, err := deploy.Rollout(within(t), s.env.Platform, plan("v2"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.GreenURL, "http://green-quiet."+s.env.Domain) || out.Revision != "quiet-v2" {
		t.Errorf("outcome: %+v", out)
	}
	s.want(t, "quiet", "/", "v1")
	s.want(t, "green-quiet", "/", "v2")
	told, _ := s.mustRoll(t, s.service("quiet", "v2"))
	contains(t, told, "-----> Traffic: quiet-v1 100% → 0%, quiet-v2 0% → 100%\n")
	s.want(t, "quiet", "/", "v2")
}

func (s *suite) steps(t *testing.T) {
	s.mustRoll(t, s.service("steps", "v1"))
	var b bytes.Buffer
	_, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: s.service("steps", "v2"), Log: app.NewLog(&b), Steps: []int64{10, 50}, StepWait: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "-----> Traffic: steps-v1 100% → 90%, steps-v2 0% → 10%\n", "-----> Traffic: steps-v1 90% → 50%, steps-v2 10% → 50%\n",
		"-----> Traffic: steps-v1 50% → 0%, steps-v2 50% → 100%\n")
	s.want(t, "steps", "/", "v2")
}
