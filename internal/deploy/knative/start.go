package knative

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// WaitReady implements deploy.Platform. It also waits until the ingress has taken the revision's tag, so that a probe reaches the app. A
// revision that Knative scaled to zero is woken by a request to its tag; one without tag and traffic cannot be woken, and counts as ready.
func (p *Platform) WaitReady(ctx context.Context, service, revision string) error {
	ctx = p.calling(ctx)
	err := p.waitReady(ctx, service, revision)
	if err == nil {
		err = p.waitTag(ctx, service, revision)
	}
	return explained(ctx, err, "wait for "+revision)
}

// waitTag waits until a revision answers under its tag, if it has one.
func (p *Platform) waitTag(ctx context.Context, service, revision string) error {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	for _, t := range live.Spec.Traffic {
		if t.RevisionName == revision && t.Tag != "" {
			_, err = p.tagURL(ctx, service, t.Tag)
			return err
		}
	}
	return nil
}

func (p *Platform) waitReady(ctx context.Context, service, revision string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	namespace := p.namespace(service)
	s := p.newStart(namespace, service, revision)
	s.wake = true
	if ready, err := s.look(ctx); ready || err != nil { // the usual case needs no watch
		return err
	}
	mine := selector(revisionLabel, revision)
	changed := p.c.Watch(ctx, kube.Interest{Resource: revisions, Namespace: namespace, Name: revision},
		kube.Interest{Resource: pods, Namespace: namespace, Selector: mine})
	for {
		select {
		case <-changed:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if ready, err := s.look(ctx); ready || err != nil {
			return err
		}
	}
}

// start is the wait for a revision to come up.
type start struct {
	p                            *Platform
	namespace, service, revision string
	wake                         bool // send a request where it is scaled to zero
	woken                        bool
	began                        time.Time
	phase                        string // what it waits for
	phaseAt                      time.Time
	told                         string               // the phase that the caller was told
	since                        map[string]time.Time // when a problem was seen first
	replaced                     time.Time            // when a pod that was created before its Secret was deleted
}

func (p *Platform) newStart(namespace, service, revision string) *start {
	return &start{p: p, namespace: namespace, service: service, revision: revision, began: time.Now(), since: map[string]time.Time{}}
}

// look reports whether the revision is up; the error is why it will not be.
func (s *start) look(ctx context.Context) (bool, error) {
	rev, err := get[servingv1.Revision](ctx, s.p.c, revisions, s.namespace, s.revision)
	if apierrors.IsNotFound(err) || err == nil && rev.Labels[serviceLabel] != s.service {
		return false, notFound("revision", s.revision)
	} else if err != nil {
		return false, err
	}
	all, err := s.p.podsOf(ctx, rev)
	if err != nil {
		return false, err
	}
	for i := range all {
		if podReady(&all[i]) {
			if rev.IsReady() {
				return true, nil
			}
			return false, s.progress(ctx, rev, "Knative has not seen yet that its pod is ready", time.Now())
		}
	}
	if rev.IsReady() && len(all) == 0 {
		if !s.wake {
			return true, nil
		}
		if !s.woken {
			s.woken = true
			if !s.p.wake(ctx, s.service, rev) {
				return true, nil // nothing can reach it
			}
		}
	}
	now := time.Now()
	h := diagnose(rev, all, now)
	if h.err == nil {
		return false, s.progress(ctx, rev, h.phase, now)
	}
	if h.early && s.replaced.IsZero() && h.again != nil {
		s.replace(ctx, h.again, now)
	}
	if h.early && now.Sub(s.replaced) < replaceTime {
		return false, nil
	}
	if s.since[h.key].IsZero() {
		s.since[h.key] = now
		if h.grace > 0 {
			s.p.tell(ctx, "%s: %s (waiting %s for a change)", s.revision, cmp.Or(h.err.Detail, h.err.Error()), h.grace)
		}
	}
	if now.Sub(s.since[h.key]) < h.grace || h.key == "unschedulable" && s.p.addingNode(ctx, s.namespace, h.pod) && now.Sub(s.began) < deadlineOf(rev) {
		return false, nil
	}
	if h.pod != nil {
		h.err.LogTail = s.p.lastWords(ctx, h.pod)
	}
	return false, h.err
}

// replace deletes a pod whose node asked the registry before it saw the Secret for it, which was created a moment before the pod. The
// replacement starts at once and finds the Secret; the node's own second attempt would come after ten seconds or more. It is done once.
func (s *start) replace(ctx context.Context, pod *corev1.Pod, now time.Time) {
	if s.p.remove(ctx, pods, pod.Namespace, pod.Name) == nil { // where gitd lacks the right, the node's own attempt follows
		s.replaced = now
	}
}

// progress tells the caller what a slow start waits for, and fails after the deadline.
func (s *start) progress(ctx context.Context, rev *servingv1.Revision, phase string, now time.Time) error {
	limit := deadlineOf(rev)
	if phase != s.phase {
		s.phase, s.phaseAt = phase, now
	}
	if now.Sub(s.phaseAt) > 5*time.Second && s.told != phase {
		s.told = phase
		s.p.tell(ctx, "waiting for %s (at most %s): %s", s.revision, limit, phase)
	}
	if now.Sub(s.began) > limit+readyMargin {
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: fmt.Sprintf("it was not up after %s: still waiting, %s", app.Elapsed(now.Sub(s.began)), phase)}
	}
	return nil
}

// deadlineOf is the time that a revision has to come up.
func deadlineOf(rev *servingv1.Revision) time.Duration {
	if d, err := time.ParseDuration(rev.Annotations[serving.ProgressDeadlineAnnotationKey]); err == nil && d > 0 {
		return d
	}
	return readyTime
}

// podsOf returns a revision's pods, without those that are being deleted.
func (p *Platform) podsOf(ctx context.Context, rev *servingv1.Revision) ([]corev1.Pod, error) {
	all, err := list[corev1.Pod](ctx, p.c, pods, rev.Namespace, selector(revisionLabel, rev.Name))
	if err != nil {
		return nil, err
	}
	var out []corev1.Pod
	for _, pod := range all {
		uid := pod.Labels[revisionUIDLabel]
		if pod.DeletionTimestamp == nil && (uid == "" || uid == string(rev.UID)) {
			out = append(out, pod)
		}
	}
	return out, nil
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// addingNode reports whether the cluster is adding a node for a pod.
func (p *Platform) addingNode(ctx context.Context, namespace string, pod *corev1.Pod) bool {
	if pod == nil {
		return false
	}
	all, err := list[corev1.Event](ctx, p.c, events, namespace, "")
	if err != nil {
		return false
	}
	for _, e := range all {
		if e.InvolvedObject.UID == pod.UID && e.Reason == "TriggeredScaleUp" {
			return true
		}
	}
	return false
}

// wake sends a request to an idle revision, so that it starts. It reports whether the revision has an address.
func (p *Platform) wake(ctx context.Context, service string, rev *servingv1.Revision) bool {
	live, err := get[servingv1.Service](ctx, p.c, services, rev.Namespace, service)
	if err != nil {
		return false
	}
	path := rev.Annotations["gitd.io/health-path"]
	if !strings.HasPrefix(path, "/") {
		path = "/"
	}
	for _, t := range live.Status.Traffic {
		if t.RevisionName != rev.Name || t.Tag == "" || t.URL == nil {
			continue
		}
		go func() {
			ctx, cancel := context.WithTimeout(ctx, deadlineOf(rev))
			defer cancel()
			_, _ = p.request(ctx, http.MethodGet, t.URL.URL(), path) // WaitReady sees what comes of it
		}()
		return true
	}
	return false
}
