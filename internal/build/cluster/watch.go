package cluster

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/kube"
)

// watched is the Pod of a build as the cluster last told it.
type watched struct {
	// mu guards the following.
	mu      sync.Mutex
	pod     *corev1.Pod
	gone    bool
	changed chan struct{} // closed at the next change
}

func (w *watched) set(p *corev1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone {
		w.gone = true
	} else {
		w.pod = p
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watched) get() (p *corev1.Pod, gone bool, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod, w.gone, w.changed
}

// wait waits until the Pod is as until wants it, or is gone.
func (w *watched) wait(ctx context.Context, until func(*corev1.Pod) bool) (*corev1.Pod, error) {
	for {
		p, gone, changed := w.get()
		if gone || until(p) {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
	}
}

// follow keeps a Pod's state up to date until ctx ends or the Pod is gone. It calls refused where it may not.
func (e *Engine) follow(ctx context.Context, w *watched, name string, refused func(error)) {
	changed := e.o.Client.Watch(ctx, kube.Interest{Resource: pods, Namespace: e.o.Namespace, Name: name})
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		for ctx.Err() == nil {
			u, err := e.o.Client.Resource(pods, e.o.Namespace).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				w.set(nil, true)
				return
			}
			if apierrors.IsForbidden(err) {
				refused(kube.Explain(err, "look at the build's Pod"))
				return
			}
			p := &corev1.Pod{}
			if err == nil && kube.Into(u, p) == nil {
				w.set(p, false)
				break
			}
			select { // the API comes back, or the build's time ends
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// state returns a container's; nil where the node has not told of it.
func state(p *corev1.Pod, container string) *corev1.ContainerStatus {
	if p == nil {
		return nil
	}
	for _, all := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range all {
			if all[i].Name == container {
				return &all[i]
			}
		}
	}
	return nil
}

// started says whether a container runs, or ran.
func started(container string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		s := state(p, container)
		return s != nil && (s.State.Running != nil || s.State.Terminated != nil) || over(p)
	}
}

// ended says whether a container does not run any more.
func ended(container string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		s := state(p, container)
		return s != nil && s.State.Terminated != nil || over(p)
	}
}

// over says whether nothing will happen in a Pod any more that counts. A Pod that is being removed has a second left, and where its node is lost
// it may never be told as ended.
func over(p *corev1.Pod) bool {
	return p != nil && (p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded)
}
