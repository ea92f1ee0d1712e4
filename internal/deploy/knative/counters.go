package knative

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// Kourier's gateway, as it is installed: its Envoy tells its counters on a port of its own. Knative's other ingresses, and its queue-proxy as it comes
// (since 1.19), tell none.
const (
	kourierClass     = "kourier.ingress.networking.knative.dev"
	gatewayNamespace = "kourier-system"
	gatewayLabel     = "app=3scale-kourier-gateway"
	statsPort        = 9000
	maxStats         = 4 << 20 // bytes of one gateway's answer
)

// noCounters is what to do where nothing counts requests.
const noCounters = "push with -o steps=10,50 or -o at-once: they take no figures; a canary takes Kourier as the ingress, and for gitd the right to get pods/proxy in " + gatewayNamespace

// Counters implements deploy.Platform. They are those of the ingress: with what gitd's own checks ask.
func (p *Platform) Counters(ctx context.Context, service string) (map[string]deploy.Counters, error) {
	ctx = p.calling(ctx)
	live, err := p.find(ctx, service)
	if err != nil {
		return nil, explained(ctx, err, "find the Service "+service)
	}
	if p.ingress != "" && p.ingress != kourierClass {
		return nil, app.Errorf(app.CodeUnavailable, noCounters, "the ingress of this cluster tells gitd no figures of requests: it is %s", p.ingress)
	}
	names := map[string]string{} // Envoy's name of it, by revision
	for _, t := range live.Status.Traffic {
		if t.RevisionName != "" {
			names[live.Namespace+"/"+t.RevisionName] = t.RevisionName
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	list, err := p.c.Resource(pods, gatewayNamespace).List(ctx, metav1.ListOptions{LabelSelector: gatewayLabel})
	if apierrors.IsForbidden(err) || err == nil && len(list.Items) == 0 {
		return nil, app.Errorf(app.CodeUnavailable, noCounters, "gitd cannot see the gateway of Kourier in the namespace %s", gatewayNamespace)
	} else if err != nil {
		return nil, explained(ctx, err, "find the gateway of Kourier")
	}
	all := map[string]deploy.Counters{}
	for i := range list.Items {
		var pod corev1.Pod
		if err := kube.Into(&list.Items[i], &pod); err != nil {
			return nil, err
		}
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		if err := p.gatewayCounters(ctx, pod.Name, names, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// gatewayCounters adds what one pod of the gateway has counted.
func (p *Platform) gatewayCounters(ctx context.Context, pod string, names map[string]string, all map[string]deploy.Counters) error {
	var each []string
	for name := range names {
		each = append(each, strings.ReplaceAll(name, ".", `\.`))
	}
	q := p.c.REST.Get().AbsPath("/api/v1/namespaces", gatewayNamespace, "pods", fmt.Sprintf("%s:%d", pod, statsPort), "proxy/stats/prometheus").
		Param("filter", `^cluster\.(`+strings.Join(sorted(each), "|")+`)\.upstream_rq_(xx|5xx|4xx|3xx|2xx|1xx|time)`)
	body, err := q.Stream(ctx)
	if apierrors.IsForbidden(err) {
		return app.Errorf(app.CodeUnavailable, noCounters, "gitd may not read the figures of Kourier's gateway: it lacks the right to get pods/proxy in the namespace %s", gatewayNamespace)
	} else if err != nil {
		return explained(ctx, err, "read the figures of Kourier's gateway")
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxStats+1))
	if err == nil && len(text) > maxStats {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return explained(ctx, err, "read the figures of Kourier's gateway")
	}
	for name, c := range parseStats(string(text)) {
		if revision := names[name]; revision != "" {
			all[revision] = all[revision].Plus(c)
		}
	}
	return nil
}

// Can implements deploy.Platform: Knative's ingresses draw each request by itself.
func (p *Platform) Can(deploy.Ability) bool { return false }
