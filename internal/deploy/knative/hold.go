package knative

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/pkg/ptr"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

// Requests are held by a revision of the Service in which gitd-pod keeps them, as the page answers them. Knative's ingress cannot take back what it has given to a
// revision, so at the end gitd says to that Pod, by a request through the ingress, which revisions serve; and it does what the ingress would have done: it sends each
// request to the revision's own name in the namespace, with the headers by which Knative's activator knows it. Nothing of the client's is changed, its host neither.
// Then the Service gets its traffic back. One Pod, not more, so that one request reaches it.
//
//	client ─ ingress ─▶ NAME-hold-SECONDS (gitd-pod) ─ at the end ─▶ NAME-vN

// holdSuffix comes after the Service's name, and before the seconds that a request waits: what holds for another time is another revision.
const holdSuffix = "-hold-"

// Bounds of what holds.
const (
	holdMemory = "256Mi"          // for 10,000 requests that wait
	holdMost   = int64(600)       // seconds of a request, waiting included: Knative's own bound, unless its operator says more
	holdTime   = 10 * time.Second // for gitd to reach it at the end
)

// page is the name of the revision that answers during maintenance.
func (m *masked) page(service string) string {
	if m.Hold == 0 {
		return service + pageSuffix
	}
	return service + holdSuffix + strconv.Itoa(int(m.Hold/time.Second))
}

// holdTemplate is that of the revision that holds requests. It lets a request take as long as the app does, after the time that it waits.
func (p *Platform) holdTemplate(svc *servingv1.Service, name, image string, hold time.Duration) (servingv1.RevisionTemplateSpec, error) {
	seconds := int64(hold / time.Second)
	how, err := json.Marshal(stream.Holding{Service: svc.Name, Namespace: p.namespace(svc.Name), Seconds: int(seconds)})
	if err != nil {
		return servingv1.RevisionTemplateSpec{}, err
	}
	t := pageTemplate(name, image, []string{stream.Hold, string(how)})
	t.Annotations = map[string]string{autoscaling.MinScaleAnnotationKey: "1", autoscaling.MaxScaleAnnotationKey: "1", autoscaling.TargetBurstCapacityKey: "0"}
	takes := int64(300) // Knative's default
	if s := svc.Spec.Template.Spec.TimeoutSeconds; s != nil {
		takes = *s
	}
	t.Spec.TimeoutSeconds = ptr.Int64(max(takes, min(takes+seconds, holdMost)))
	t.Spec.ContainerConcurrency = ptr.Int64(0)
	c := &t.Spec.Containers[0]
	c.Env = []corev1.EnvVar{{Name: stream.HoldVariable, Value: rand.Text()}}
	c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse(holdMemory)
	for _, of := range svc.Spec.Template.Spec.Containers {
		if len(of.Ports) > 0 && of.Ports[0].Name == "h2c" {
			c.Ports = []corev1.ContainerPort{{ContainerPort: 8080, Name: "h2c"}}
		}
	}
	return t, nil
}

// endHold has what was held go to next, or where the Service's traffic goes, from now on. Where what holds is not reached its requests end with it, and the caller is told.
func (p *Platform) endHold(ctx context.Context, svc *servingv1.Service, page, next string) {
	there, err := p.revisions(ctx, p.namespace(svc.Name), svc.Name)
	if err != nil {
		p.tell(ctx, "the requests that %s holds are lost: %v", page, err)
		return
	}
	to := targets(svc)
	if next != "" {
		to = []servingv1.TrafficTarget{{RevisionName: next, Percent: ptr.Int64(100)}}
	}
	var shares []stream.Share
	for _, t := range to {
		if rev, percent := there[t.RevisionName], ptr.Int64Value(t.Percent); percent > 0 && rev != nil {
			shares = append(shares, stream.Share{Revision: t.RevisionName, Percent: percent, HTTP2: rev.GetProtocol() == networking.ProtocolH2C})
		}
	}
	if err := p.sayShares(ctx, svc, page, shares); err != nil {
		p.tell(ctx, "the requests that %s holds are lost: %v", page, err)
	}
}

// sayShares tells the Pod that holds requests where they go.
func (p *Platform) sayShares(ctx context.Context, svc *servingv1.Service, page string, shares []stream.Share) error {
	token, err := p.holdToken(ctx, svc, page)
	if err != nil {
		return err
	}
	body, err := json.Marshal(shares)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	for {
		if err = p.sayOnce(bounded, svc.Name, token, body); err == nil {
			return nil
		}
		select {
		case <-bounded.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (p *Platform) sayOnce(ctx context.Context, service, token string, body []byte) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+service+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set(stream.HoldHeader, token)
	res, err := p.Send(ctx, service, q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, probeBody)
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("it answers with %s", res.Status)
	}
	return nil
}

// holdToken is what the Pod that holds requests knows gitd by.
func (p *Platform) holdToken(ctx context.Context, svc *servingv1.Service, page string) (string, error) {
	all, err := list[corev1.Secret](ctx, p.c, secrets, p.namespace(svc.Name), selector(managedBy, manager, appLabel, svc.Name, revLabel, page))
	if err != nil {
		return "", err
	}
	for i := range all {
		if token := all[i].Data[stream.HoldVariable]; len(token) > 0 {
			return string(token), nil
		}
	}
	return "", deploy.ErrNotFound
}
