package knative

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// notJobs leaves the pods of RunProcess out of a selector.
const notJobs = ",!batch.kubernetes.io/job-name"

// A stopped Service on a cluster has one revision, NAME-stop, in which gitd-pod answers with 503, and which is at zero until a request comes. For all that reads
// Services it is not there (find). The ledger has all that it takes to apply it again.
const (
	stoppedNote = "gitd.io/stopped"
	stopSuffix  = "-stop" // after the Service's name
)

func isStopped(live *servingv1.Service) bool { return live.Annotations[stoppedNote] == "true" }

// URL returns where the Service answers, also while it is stopped; nil where that is not known.
func (p *Platform) URL(ctx context.Context, service string) *url.URL {
	live, err := get[servingv1.Service](ctx, p.c, services, p.namespace(service), service)
	if err != nil || live.DeletionTimestamp != nil || !p.isOurs(live) || live.Status.URL == nil {
		return nil
	}
	return live.Status.URL.URL()
}

// stopKey is for the change of a Service that stops it.
type stopKey struct{}

// markStopped says on a Service whether it is stopped.
func markStopped(ctx context.Context, want, live *servingv1.Service) {
	note := ""
	if ctx.Value(stopKey{}) != nil {
		note = "true"
	} else if live == nil || live.Annotations[stoppedNote] == "" {
		return
	}
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[stoppedNote] = note // "", as in mask
}

// Stop implements deploy.Platform.
func (p *Platform) Stop(ctx context.Context, service string) error {
	defer p.lock(service)()
	ctx = p.calling(ctx)
	return explained(ctx, p.stopService(ctx, service), "stop "+service)
}

func (p *Platform) stopService(ctx context.Context, service string) error {
	live, err := p.find(ctx, service)
	switch {
	case errors.Is(err, deploy.ErrStopped): // what was left is ended
	case err != nil:
		return err
	case deploy.WithoutWeb(&live.Spec.Template):
		err = p.forgetAlone(ctx, service, "")
	default:
		if err = p.answerStopped(ctx, service); err != nil { // it stops nevertheless
			p.tell(ctx, "requests to %s are answered with 404, not 503: %v", service, err)
			err = p.remove(ctx, services, p.namespace(service), service)
		}
	}
	if err != nil && !errors.Is(err, deploy.ErrStopped) {
		return err
	}
	return p.endAll(ctx, service)
}

// answerStopped has requests to a Service answered with 503.
func (p *Platform) answerStopped(ctx context.Context, service string) error {
	image, err := p.podImage(ctx)
	if err != nil {
		return err
	}
	svc := &servingv1.Service{}
	svc.Name = service
	name := service + stopSuffix
	page, r, err := p.pageOf(ctx, svc, pageTemplate(name, image, []string{"page", "stopped"}))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, stopKey{}, true), stopTime)
	defer cancel()
	return p.apply(ctx, page, r, []servingv1.TrafficTarget{{RevisionName: name, Percent: ptr.Int64(100), LatestRevision: ptr.Bool(false)}})
}

const (
	stopTime  = time.Minute // for the answer of a stopped Service to be there
	stopGrace = 30          // seconds that the instances of a stopped Service have for what is under way, as on one machine
)

// endAll ends all instances of a Service, and waits for it.
func (p *Platform) endAll(ctx context.Context, service string) error {
	namespace := p.namespace(service)
	if err := p.removeAll(ctx, deployments, namespace, ours(service)); err != nil {
		return err
	}
	there, err := p.revisions(ctx, namespace, service)
	if err != nil {
		return err
	}
	pages := []string{service + stopSuffix, service + pageSuffix}
	for name := range there {
		if isPage(service, name) {
			pages = append(pages, name)
			continue
		}
		if err := p.remove(ctx, revisions, namespace, name); err != nil {
			return err
		}
		if err := p.removeAll(ctx, secrets, namespace, selector(managedBy, manager, appLabel, service, revLabel, name)+",!"+procLabel); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	others := selector(serviceLabel, service) + "," + revisionLabel + " notin (" + strings.Join(pages, ",") + ")"
	if err := p.waitGone(ctx, namespace, others, deployments); err != nil {
		return err
	}
	left, err := list[corev1.Pod](ctx, p.c, pods, namespace, others)
	if err != nil {
		return err
	}
	for i := range left { // no request reaches it any more; one that ignores SIGTERM would live for as long as a request may take
		err := p.c.Resource(pods, namespace).Delete(ctx, left[i].Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.Int64(stopGrace)})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return err
		}
	}
	if err := p.waitGone(ctx, namespace, others, autoscalers, serverless, pods); err != nil {
		return err
	}
	return p.waitGone(ctx, namespace, ours(service)+","+procLabel+notJobs, pods)
}

// RestartWorker implements deploy.Platform. The new pods start when the old ones have ended.
func (p *Platform) RestartWorker(ctx context.Context, svc *servingv1.Service, worker deploy.Worker) error {
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
	}
	defer p.lock(svc.Name)()
	ctx = p.calling(ctx)
	return explained(ctx, p.restartWorker(ctx, svc.Name, r, worker), "restart the worker "+worker.Type+" of "+svc.Name)
}

func (p *Platform) restartWorker(ctx context.Context, service string, r *release, worker deploy.Worker) error {
	live, err := p.find(ctx, service)
	if err != nil {
		return err
	}
	owner, err := p.ownerOfWorkers(ctx, live, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	all := placesOf([]deploy.Worker{worker})
	for _, replicas := range []*int32{ptr.Int32(0), ptr.Int32(1)} {
		for _, at := range all {
			d, err := p.worker(live.Namespace, service, owner, r, at)
			if err != nil {
				return deploy.Invalid(service, err.Error())
			}
			d.Spec.Replicas = replicas
			if _, _, err := p.c.Apply(ctx, deployments, d); err != nil {
				return err
			}
		}
		if *replicas == 0 {
			if err := p.waitGone(ctx, live.Namespace, ours(service)+","+selector(procLabel, worker.Type)+notJobs, pods); err != nil {
				return err
			}
		}
	}
	p.watchFinished(service, r, all)
	return nil
}
