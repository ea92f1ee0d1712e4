package knative

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// get reads one object. Where it does not exist, the error is the API's.
func get[T any](ctx context.Context, c *kube.Client, gvr schema.GroupVersionResource, namespace, name string) (*T, error) {
	u, err := c.Resource(gvr, namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := new(T)
	if err := kube.Into(u, out); err != nil {
		return nil, fmt.Errorf("%s %s: %w", gvr.Resource, name, err)
	}
	return out, nil
}

// list reads the objects with these labels.
func list[T any](ctx context.Context, c *kube.Client, gvr schema.GroupVersionResource, namespace, selector string) ([]T, error) {
	l, err := c.Resource(gvr, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	out := make([]T, len(l.Items))
	for i := range l.Items {
		if err := kube.Into(&l.Items[i], &out[i]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", gvr.Resource, l.Items[i].GetName(), err)
		}
	}
	return out, nil
}

// remove deletes an object, if it exists.
func (p *Platform) remove(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) error {
	background := metav1.DeletePropagationBackground
	err := p.c.Resource(gvr, namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// removeAll deletes the objects with these labels.
func (p *Platform) removeAll(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector string) error {
	all, err := p.c.Resource(gvr, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err
	}
	for _, u := range all.Items {
		if err := p.remove(ctx, gvr, u.GetNamespace(), u.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// waitGone waits until no object with these labels exists.
func (p *Platform) waitGone(ctx context.Context, namespace, selector string, kinds ...schema.GroupVersionResource) error {
	for _, gvr := range kinds {
		for {
			l, err := p.c.Resource(gvr, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
			if err != nil {
				return err
			}
			if len(l.Items) == 0 {
				break
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return app.Errorf(app.CodeUnavailable, "see what delays it: kubectl -n "+namespace+" get "+gvr.Resource+" "+l.Items[0].GetName()+" -o yaml",
					"the %s %s is still being deleted", gvr.GroupResource(), l.Items[0].GetName())
			}
		}
	}
	return nil
}

// selector makes a label selector: key, value, key, value …
func selector(kv ...string) string {
	s := ""
	for i := 0; i < len(kv); i += 2 {
		if s != "" {
			s += ","
		}
		s += kv[i] + "=" + kv[i+1]
	}
	return s
}

// ours selects what gitd made for a Service.
func ours(service string) string { return selector(managedBy, manager, appLabel, service) }

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// ensureNamespace creates a namespace that does not exist. It waits for one that is being deleted.
func (p *Platform) ensureNamespace(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, terminating)
	defer cancel()
	told := false
	for {
		ns, err := get[corev1.Namespace](ctx, p.c, namespaces, "", name)
		switch {
		case apierrors.IsNotFound(err):
			return p.makeNamespace(ctx, name)
		case apierrors.IsForbidden(err) && p.o.Namespace != "": // it was made for gitd, which has no rights outside of it
			return nil
		case err != nil && ctx.Err() == nil:
			return kube.Explain(err, "read the namespace "+name)
		case err == nil && p.ofAnotherGitd(ns):
			return app.Errorf(app.CodeExists, "give the app another name; if that gitd no longer exists: kubectl delete namespace "+name, "the namespace %s belongs to another gitd", name)
		case err == nil && ns.DeletionTimestamp == nil:
			if ns.Labels[managedBy] == manager && ns.Labels[podSecurity] == "" { // of an earlier gitd
				return p.makeNamespace(ctx, name)
			}
			return nil
		}
		if !told {
			p.tell(ctx, "waiting for the deletion of the namespace %s (at most %s)", name, terminating)
			told = true
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return app.Errorf(app.CodeUnavailable, "see what delays it: kubectl get namespace "+name+" -o yaml",
				"the namespace %s is still being deleted after %s", name, terminating)
		}
	}
}

// makeNamespace creates a namespace for an app, or updates one that gitd made. The cluster refuses pods in it that request what a
// container with untrusted code must not have, also those that gitd did not create.
func (p *Platform) makeNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: p.labelled(map[string]string{podSecurity: "baseline"})}}
	if _, _, err := p.c.Apply(ctx, namespaces, ns); err != nil {
		return kube.Explain(err, "create the namespace "+name)
	}
	return nil
}

// podSecurity is the label by which a namespace enforces a Pod security standard. Baseline, not restricted: an image may give its user by
// name, and Kubernetes cannot tell that this is not root; gitd checks it itself.
const podSecurity = "pod-security.kubernetes.io/enforce"

// notFound is deploy.ErrNotFound for a kind and a name.
func notFound(kind, name string) error {
	return fmt.Errorf("%s %s: %w", kind, name, deploy.ErrNotFound)
}

// explained turns an error of the API into an *app.Error. It leaves gitd's own errors, and the end of ctx.
func explained(ctx context.Context, err error, doing string) error {
	var start *deploy.StartError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, deploy.ErrNotFound), errors.As(err, &start):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return kube.Explain(err, doing)
}
