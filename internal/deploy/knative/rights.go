package knative

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube"
)

// right is what gitd has to be allowed to do with a resource.
type right struct {
	group, resource string
	name            string // of the only object that it is for; "" for all
	verbs           string
	namespace       string // "" for the cluster
	without         string // what fails without it, while everything else works; "" for a right without which gitd does not start
}

// rights are those without which gitd does not start. config/ grants them.
func (p *Platform) rights() []right {
	in := p.o.Namespace
	all := []right{
		{services.Group, "services", "", "get list watch create patch delete", in, ""},
		{revisions.Group, "revisions", "", "get list watch delete", in, ""},
		{routes.Group, "routes", "", "list", in, ""},
		{autoscalers.Group, "podautoscalers", "", "list", in, ""},
		{ingresses.Group, "ingresses", "", "list", in, ""},
		{serverless.Group, "serverlessservices", "", "list", in, ""},
		{"", "pods", "", "get list watch", in, ""},
		{"", "pods/log", "", "get", in, ""},
		{"", "secrets", "", "get list create patch delete", in, ""},
		{"", "events", "", "list", in, ""},
		{deployments.Group, "deployments", "", "list create patch delete", in, ""},
		{jobs.Group, "jobs", "", "get list watch create patch delete", in, ""},
	}
	if in == "" {
		all = append(all, right{"", "namespaces", "", "get create patch delete", "", ""})
	}
	return all
}

// What fails without the rights of further, in words.
const (
	noProofs  = "certificates for domains are not obtained by http-01"
	noDomains = "domains of apps cannot be added"
	noRuns    = "run works with --detach alone"
	noReplace = "a Pod whose image a node could not pull at first waits for the node's next attempt"
	noEvents  = "apps get no events, and brokers cannot be made"
	noChannel = "a release may miss events of the first seconds of its triggers, and get dead letters of others' by a trigger that went"
	noFigures = "canaries are refused, and traffic APP shows no figures"
	noMeasure = "ps shows no memory and no CPU"
)

// further are the rights that single things need, as far as this cluster has what they are for. config/ grants them as well.
func (p *Platform) further(ctx context.Context) []right {
	in := p.o.Namespace
	all := []right{
		{domainMappings.Group, "domainmappings", "", "list create patch delete", in, noDomains},
		{ingresses.Group, "ingresses", "", "create patch", in, noProofs},
		{"", "services", "", "create patch", in, noProofs},
		{"", "pods/attach", "", "get create", in, noRuns},
		{"", "pods", "", "delete", in, noReplace},
	}
	if in == "" {
		all = append(all, right{domainClaims.Group, "clusterdomainclaims", "", "get list create patch delete", "", noDomains})
	}
	if p.serves(ctx, "eventing.knative.dev/v1") {
		at := cmp.Or(in, p.o.Events)
		all = append(all, right{"eventing.knative.dev", "brokers", "", "get list create patch delete", at, noEvents},
			right{"eventing.knative.dev", "triggers", "", "get list create patch delete", at, noEvents},
			right{"", "services", "", "create patch", at, noEvents},
			right{"", "services/proxy", "gitd-events:80", "get create delete", at, noEvents},
			right{"", "persistentvolumeclaims", "", "get create patch", at, noEvents},
			right{"messaging.knative.dev", "subscriptions", "", "list", at, noChannel},
			right{"messaging.knative.dev", "inmemorychannels", "", "get patch", at, noChannel})
	}
	if p.usesKourier(ctx) {
		all = append(all, right{"", "pods", "", "list", gatewayNamespace, noFigures}, right{"", "pods/proxy", "", "get", gatewayNamespace, noFigures})
	}
	if p.serves(ctx, "metrics.k8s.io/v1beta1") {
		all = append(all, right{podMetrics.Group, "pods", "", "list", in, noMeasure})
	}
	return all
}

// serves says whether the cluster has a version of an API.
func (p *Platform) serves(ctx context.Context, version string) bool {
	return p.c.REST.Get().AbsPath("/apis/"+version).Do(ctx).Error() == nil
}

// usesKourier says whether the ingress is Kourier for certain: where gitd may not read Knative's configuration, by an app's own.
func (p *Platform) usesKourier(ctx context.Context) bool {
	if p.ingress != "" {
		return p.ingress == kourierClass
	}
	l, err := p.c.Resource(ingresses, p.o.Namespace).List(ctx, metav1.ListOptions{Limit: 1})
	return err == nil && len(l.Items) > 0 && l.Items[0].GetAnnotations()["networking.knative.dev/ingress.class"] == kourierClass
}

// missing is a right that gitd does not have.
type missing struct {
	right
	verb string
}

func (m missing) String() string {
	text := m.verb + " " + m.resource
	if m.group != "" && (m.resource == "pods" || m.resource == "services") { // the core has them too
		text += "." + m.group
	}
	return text
}

// lacking asks the cluster for rights, all at once, and returns those that gitd does not have, in their order.
func (p *Platform) lacking(ctx context.Context, rights []right) ([]missing, error) {
	var asked sync.WaitGroup
	var mu sync.Mutex
	var all []missing
	var failed error
	slots := make(chan struct{}, 8)
	for _, r := range rights {
		for verb := range strings.FieldsSeq(r.verbs) {
			asked.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				yes, err := p.may(ctx, r, verb)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				} else if !yes {
					all = append(all, missing{r, verb})
				}
			})
		}
	}
	asked.Wait()
	if failed != nil {
		return nil, kube.Explain(failed, "ask what gitd may do on the cluster")
	}
	slices.SortStableFunc(all, func(a, b missing) int {
		return cmp.Or(slices.Index(rights, a.right)-slices.Index(rights, b.right), strings.Compare(a.verb, b.verb))
	})
	return all, nil
}

// may asks for one right.
func (p *Platform) may(ctx context.Context, r right, verb string) (bool, error) {
	resource, sub, _ := strings.Cut(r.resource, "/")
	review := &authv1.SelfSubjectAccessReview{TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec: authv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authv1.ResourceAttributes{
			Namespace: r.namespace, Verb: verb, Group: r.group, Resource: resource, Subresource: sub, Name: r.name}}}
	u, err := kube.Unstructured(review)
	if err != nil {
		return false, err
	}
	out, err := p.c.Dynamic.Resource(accessReviews).Create(ctx, u, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	if err := kube.Into(out, review); err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// allowed fails where a right is missing without which gitd does not start.
func (p *Platform) allowed(ctx context.Context) error {
	lacks, err := p.lacking(ctx, p.rights())
	if err != nil || len(lacks) == 0 {
		return err
	}
	user := p.c.User(ctx)
	why, next := kube.MissingRight(user, lacks[0].verb, lacks[0].resource, lacks[0].group, lacks[0].namespace)
	if len(lacks) > 1 {
		why += fmt.Sprintf("; %d rights are missing in all: %s", len(lacks), words(lacks))
		next = p.grant()
	}
	return app.Errorf(app.CodeUnavailable, next, "%s", why)
}

// words lists rights.
func words(lacks []missing) string {
	var all []string
	for _, m := range lacks {
		all = append(all, m.String())
	}
	return strings.Join(all, ", ")
}

// grant is how an installation gets the rights of its version.
func (p *Platform) grant() string {
	folder := "config/"
	if p.o.Namespace == "" {
		folder = "config/app-namespaces/"
	}
	return "apply the Role in gitd's " + folder + " folder, of this version: kubectl apply -k FOLDER, the kustomization that gitd was installed with"
}

// tellLacking notes in the log what does not work for want of rights, as it is after an upgrade whose Roles were not applied.
func (p *Platform) tellLacking(ctx context.Context) error {
	lines, err := p.findLacking(ctx)
	for _, line := range lines {
		p.o.Log("cluster: %s", line)
	}
	return err
}

// findLacking returns what does not work for want of rights, and notes whether anything does.
func (p *Platform) findLacking(ctx context.Context) ([]string, error) {
	lacks, err := p.lacking(ctx, p.further(ctx))
	if err != nil {
		return nil, err
	}
	p.lacks.Store(len(lacks) > 0)
	if len(lacks) == 0 {
		return nil, nil
	}
	user := p.c.User(ctx)
	of := map[string][]missing{}
	var order []string
	for _, m := range lacks {
		key := m.without + "\x00" + m.namespace
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], m)
	}
	var lines []string
	for _, key := range order {
		m := of[key]
		where := ""
		if m[0].namespace != "" {
			where = " in the namespace " + m[0].namespace
		}
		how := p.grant()
		if m[0].namespace == gatewayNamespace {
			how = "apply the Role in gitd's config/kourier/ folder: kubectl apply -k config/kourier"
		}
		lines = append(lines, fmt.Sprintf("%s: %s lacks the right to %s%s; %s", m[0].without, user, words(m), where, how))
	}
	return lines, nil
}

// Warnings returns what does not work on the cluster for want of rights, with the command that grants them; nothing where there was nothing missing when gitd
// started. It asks the cluster again.
func (p *Platform) Warnings(ctx context.Context) ([]string, error) {
	if !p.lacks.Load() {
		return nil, nil
	}
	lines, err := p.findLacking(kube.WithRetryTime(ctx, preflightTime))
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return lines, err
}
