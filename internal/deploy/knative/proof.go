package knative

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/pkg/ptr"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
	"github.com/gitd-io/gitd/internal/kube"
)

// Those who issue certificates ask a domain itself for the proof that it is ours (http-01). Knative's DomainMapping knows no paths, so for as long as a proof is
// asked for, the domain's mapping leads to an Ingress of Knative's kind that gitd makes: the path of the proof goes to a Pod that answers it, and everything
// else to the app, by the name that it has within the cluster. A mapping changes in one step at the ingress, but for a request of that
// very moment, which may get a 503. All of this is the ingress's own: it holds while gitd is away.
//
//	domain ─ DomainMapping ─▶ NAME (an alias of the ingress) ─ Ingress ─┬─ the path of the proof ─▶ NAME-pod
//	                                                                    └─ all others ─▶ the app

// proofPrefix begins the names of what answers proofs.
const proofPrefix = "gitd-proof-"

// proofLabel has the name of the Service whose domain is proven.
const proofLabel = "gitd.io/proof"

// Bounds of a proof.
const (
	proofTime  = 3 * time.Minute  // until it is answered: an ingress on a busy machine takes its time
	proofSlow  = 15 * time.Second // until what it waits for is told
	giveUpTime = 20 * time.Second
	proofPort  = 8080
	proofPath  = stream.ProofPath
)

var coreServices = schema.GroupVersionResource{Version: "v1", Resource: "services"}

// proofs are by what domains are proven now.
type proofs struct {
	sync.Mutex
	names map[string]string // of what the ingress leads a domain to, by domain
	open  map[string]bool   // the names of what answers, from before it is made until it is removed
}

// Prove has the ingress answer the proof text, "TOKEN.…", of a domain of a Service, until EndProof. It returns when it does.
func (p *Platform) Prove(ctx context.Context, service, domain, text string) error {
	bounded, cancel := context.WithTimeout(p.calling(ctx), proofTime)
	defer cancel()
	name := proofName(domain, text)
	p.opened(name, true) // a change of the app's domains leaves it alone
	err := p.prove(bounded, service, domain, name, text)
	if err != nil {
		err = errors.Join(err, p.giveUp(bounded, service, domain, name))
	}
	return explained(ctx, err, "answer for "+domain) // what is not ready in our time is said, rather than that time is up
}

// giveUp ends a proof that could not be answered.
func (p *Platform) giveUp(ctx context.Context, service, domain, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	return p.endProof(ctx, service, domain, name)
}

func (p *Platform) prove(ctx context.Context, service, domain, name, text string) error {
	namespace := p.namespace(service)
	owner, err := p.answerProof(ctx, namespace, service, domain, name, text)
	if err != nil {
		return err
	}
	inside, err := p.routeProof(ctx, namespace, service, name, text, owner)
	if err != nil {
		return err
	}
	alias := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: p.ofProof(namespace, service, name, owner),
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: inside, Ports: []corev1.ServicePort{{Name: "http2", Port: 80}}}} // as Knative names the port of its own aliases: HTTP/2 passes
	if _, _, err := p.c.Apply(ctx, coreServices, alias); err != nil {
		return err
	}
	p.proving(domain, name)
	return p.remap(ctx, namespace, domain, ref("v1", namespace, name))
}

// EndProof ends what Prove began. Requests to the domain go to the app again, as before.
func (p *Platform) EndProof(ctx context.Context, service, domain string) error {
	bounded, cancel := context.WithTimeout(p.calling(ctx), proofTime)
	defer cancel()
	return explained(ctx, p.endProof(bounded, service, domain, p.proves(domain)), "stop answering for "+domain)
}

func (p *Platform) endProof(ctx context.Context, service, domain, name string) error {
	if name == "" {
		return nil
	}
	defer p.opened(name, false)
	namespace := p.namespace(service)
	if p.proves(domain) == name {
		p.proving(domain, "")
	}
	err := p.remap(ctx, namespace, domain, p.leadsTo(namespace, service, domain))
	if err == nil || ctx.Err() == nil { // what has no owner any more goes with it
		err = errors.Join(err, p.remove(ctx, deployments, namespace, name))
	}
	return err
}

// removeProofs removes what an earlier gitd, or a domain that was removed, has left.
func (p *Platform) removeProofs(ctx context.Context, namespace, service string, domains []deploy.Domain) error {
	l, err := p.c.Resource(deployments, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector(managedBy, manager, proofLabel, service)})
	if err != nil {
		if apierrors.IsForbidden(err) && len(domains) == 0 {
			err = nil
		}
		return err
	}
	for i := range l.Items {
		u := &l.Items[i]
		used := slices.ContainsFunc(domains, func(d deploy.Domain) bool { return u.GetAnnotations()[domainNote] == d.Name && p.isOpen(u.GetName()) })
		if used || p.ofAnotherGitd(u) {
			continue
		}
		if err := p.remove(ctx, deployments, namespace, u.GetName()); err != nil {
			return err
		}
		p.opened(u.GetName(), false)
	}
	return nil
}

// proving notes by what a domain is proven; "" ends that.
func (p *Platform) proving(domain, name string) {
	p.proofs.Lock()
	defer p.proofs.Unlock()
	if p.proofs.names == nil {
		p.proofs.names = map[string]string{}
	}
	p.proofs.names[domain] = name
	if name == "" {
		delete(p.proofs.names, domain)
	}
}

// proves returns by what a domain is proven; "" for nothing.
func (p *Platform) proves(domain string) string {
	p.proofs.Lock()
	defer p.proofs.Unlock()
	return p.proofs.names[domain]
}

// opened notes that what answers is being made or answers, or is no more.
func (p *Platform) opened(name string, open bool) {
	p.proofs.Lock()
	defer p.proofs.Unlock()
	if p.proofs.open == nil {
		p.proofs.open = map[string]bool{}
	}
	if open {
		p.proofs.open[name] = true
	} else {
		delete(p.proofs.open, name)
	}
}

func (p *Platform) isOpen(name string) bool {
	p.proofs.Lock()
	defer p.proofs.Unlock()
	return p.proofs.open[name]
}

// leadsTo is what the mapping of a domain refers to now.
func (p *Platform) leadsTo(namespace, service, domain string) map[string]any {
	if name := p.proves(domain); name != "" {
		return ref("v1", namespace, name)
	}
	return ref("serving.knative.dev/v1", namespace, service)
}

func ref(apiVersion, namespace, name string) map[string]any {
	return map[string]any{"apiVersion": apiVersion, "kind": "Service", "name": name, "namespace": namespace}
}

// proofName names what answers a proof. Another proof has another one.
func proofName(domain, text string) string {
	sum := sha256.Sum256([]byte(domain + "\x00" + text))
	return proofPrefix + hex.EncodeToString(sum[:10])
}

func (p *Platform) ofProof(namespace, service, name string, owner []metav1.OwnerReference) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: p.labelled(map[string]string{proofLabel: service}), OwnerReferences: owner}
}

// answerProof starts the Pod that answers, with a name within the cluster, and waits until it is ready. It returns what all else of the proof goes with.
func (p *Platform) answerProof(ctx context.Context, namespace, service, domain, name, text string) ([]metav1.OwnerReference, error) {
	if p.o.Namespace == "" {
		if err := p.ensureNamespace(ctx, namespace); err != nil {
			return nil, err
		}
	}
	image, err := p.podImage(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.savePull(ctx, namespace, service); err != nil {
		return nil, err
	}
	spec := corev1.PodSpec{AutomountServiceAccountToken: ptr.Bool(false), EnableServiceLinks: ptr.Bool(false), TerminationGracePeriodSeconds: ptr.Int64(5),
		Containers: []corev1.Container{{Name: "proof", Image: p.nodeImage(image), Args: []string{stream.Proof, text},
			Env:            []corev1.EnvVar{{Name: "PORT", Value: fmt.Sprint(proofPort)}},
			Ports:          []corev1.ContainerPort{{ContainerPort: proofPort}},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(proofPort)}}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
				Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("16Mi")}},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.Bool(false), RunAsNonRoot: ptr.Bool(true), ReadOnlyRootFilesystem: ptr.Bool(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}}}}
	if p.pulls {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: p.pullName()}}
	}
	own := map[string]string{managedBy: manager, proofLabel: service, "gitd.io/proof-name": name}
	meta := p.ofProof(namespace, service, name, nil)
	meta.Annotations = map[string]string{domainNote: domain}
	u, _, err := p.c.Apply(ctx, deployments, &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{Replicas: ptr.Int32(1), RevisionHistoryLimit: ptr.Int32(0), Selector: &metav1.LabelSelector{MatchLabels: own},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: own}, Spec: spec}}})
	if err != nil {
		return nil, err
	}
	owner := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: u.GetUID()}}
	if _, _, err := p.c.Apply(ctx, coreServices, &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: p.ofProof(namespace, service, name+"-pod", owner),
		Spec: corev1.ServiceSpec{Selector: own, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(proofPort)}}}}); err != nil {
		return nil, err
	}
	return owner, p.until(ctx, deployments, namespace, name, "the Pod that answers does not start", func(u *unstructured.Unstructured) bool {
		n, _, _ := unstructured.NestedInt64(u.Object, "status", "availableReplicas")
		return n > 0
	})
}

// routeProof makes the Ingress, and returns the name of what serves it within the cluster.
func (p *Platform) routeProof(ctx context.Context, namespace, service, name, text string, owner []metav1.OwnerReference) (inside string, err error) {
	split := func(to string) []any {
		return []any{map[string]any{"serviceName": to, "serviceNamespace": namespace, "servicePort": int64(80), "percent": int64(100)}}
	}
	token, _, _ := strings.Cut(text, ".")
	paths := []any{map[string]any{"path": proofPath + token, "splits": split(name + "-pod")}}
	suffix := ".svc.cluster.local"
	svc, err := p.find(ctx, service)
	switch {
	case errors.Is(err, deploy.ErrNotFound): // it has no release yet
	case err != nil:
		return "", err
	case svc.Status.Address != nil && svc.Status.Address.URL != nil:
		host := svc.Status.Address.URL.Host
		if rest, ok := strings.CutPrefix(host, service+"."+namespace); ok {
			suffix = rest
		}
		paths = append(paths, map[string]any{"rewriteHost": host, "splits": split(service)})
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"httpOption": "Enabled",
		"rules": []any{map[string]any{"hosts": []any{name + "." + namespace + suffix}, "visibility": "ClusterLocal", "http": map[string]any{"paths": paths}}}}}}
	u.SetGroupVersionKind(ingresses.GroupVersion().WithKind("Ingress"))
	meta := p.ofProof(namespace, service, name, owner)
	u.SetName(meta.Name)
	u.SetNamespace(meta.Namespace)
	u.SetLabels(meta.Labels)
	u.SetOwnerReferences(owner)
	class, err := p.ingressClass(ctx)
	if err != nil {
		return "", err
	}
	u.SetAnnotations(map[string]string{classNote: class})
	if _, _, err := p.c.Apply(ctx, ingresses, u); err != nil {
		return "", err
	}
	err = p.until(ctx, ingresses, namespace, name, "the ingress does not take the route", func(u *unstructured.Unstructured) bool {
		at, _, _ := unstructured.NestedSlice(u.Object, "status", "privateLoadBalancer", "ingress")
		if len(at) > 0 {
			inside, _, _ = unstructured.NestedString(at[0].(map[string]any), "domainInternal")
		}
		return inside != "" && kube.Is(u, "Ready", "True")
	})
	return inside, err
}

// classNote names the ingress that serves an object of Knative's.
const classNote = "networking.knative.dev/ingress.class"

// ingressClass is the class of the ingress that Knative uses: as its configuration has it, else as an object in the namespace does.
func (p *Platform) ingressClass(ctx context.Context) (string, error) {
	if p.ingress != "" {
		return p.ingress, nil
	}
	l, err := p.c.Resource(ingresses, p.o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, u := range l.Items {
		if class := u.GetAnnotations()[classNote]; class != "" {
			return class, nil
		}
	}
	return "", app.Errorf(app.CodeUnavailable, "push an app first, or let gitd read Knative's configuration: kubectl -n knative-serving create role gitd-network --verb=get --resource=configmaps --resource-name=config-network",
		"which ingress Knative uses is not known")
}

// remap has the mapping of a domain refer to something else, and waits until the ingress goes by it. A mapping that there is not is made with it.
func (p *Platform) remap(ctx context.Context, namespace, domain string, to map[string]any) error {
	if err := p.refer(ctx, namespace, domain, to); err != nil {
		return err
	}
	if to["apiVersion"] != "v1" { // back to the app, which may have no release
		return p.mapped(ctx, namespace, domain)
	}
	return p.until(ctx, domainMappings, namespace, domain, "the ingress does not take the mapping", func(u *unstructured.Unstructured) bool {
		name, _, _ := unstructured.NestedString(u.Object, "spec", "ref", "name")
		return name == to["name"] && kube.Is(u, "Ready", "True")
	})
}

// refer changes what the mapping of a domain refers to.
func (p *Platform) refer(ctx context.Context, namespace, domain string, to map[string]any) error {
	defer p.locks.Lock("domain " + domain)()
	live, err := p.mapping(ctx, namespace, domain)
	if live != nil && err == nil {
		spec, _, _ := unstructured.NestedMap(live.Object, "spec")
		spec["ref"] = to
		want := p.domainObject(domainMappings, "DomainMapping", namespace, domain, live.GetLabels()[appLabel], spec)
		want.SetAnnotations(p.domainNotes(domain, spec["tls"] != nil, to["apiVersion"] == "v1"))
		_, _, err = p.c.Apply(ctx, domainMappings, want)
	}
	return err
}

// until waits for an object, which was made before, to be as it should; after proofSlow it tells what it waits for.
func (p *Platform) until(ctx context.Context, gvr schema.GroupVersionResource, namespace, name, why string, is func(*unstructured.Unstructured) bool) error {
	slow, unmet := time.Now().Add(proofSlow), ""
	for {
		l, err := p.c.Resource(gvr, namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && len(l.Items) == 0 {
			return app.Errorf(app.CodeUnavailable, "try again", "%s was removed meanwhile (%s)", name, gvr.Resource)
		}
		if err == nil {
			u := &l.Items[0]
			if kube.Observed(u) && is(u) {
				return nil
			}
			unmet = kube.Unmet(u)
		}
		if !slow.IsZero() && time.Now().After(slow) {
			slow = time.Time{}
			p.tell(ctx, "a proof waits: %s (%s %s%s)", why, gvr.Resource, name, unmet)
		}
		select {
		case <-ctx.Done():
			return app.Errorf(app.CodeUnavailable, "see why: kubectl -n "+namespace+" describe "+gvr.GroupResource().String()+" "+name, "%s (%s %s%s)", why, gvr.Resource, name, unmet)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// nodeImage is an image as nodes pull it.
func (p *Platform) nodeImage(image string) string {
	if p.o.Pull == "" {
		return image
	}
	return strings.TrimSuffix(p.o.Pull, "/") + "/" + image
}
