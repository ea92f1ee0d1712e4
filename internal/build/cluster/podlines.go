package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/kube"
)

// events hands out what a container of ours says, until one says that it is the last or the container ends.
func (b *running) events(ctx context.Context, container string, each func(wire.Event) (last bool)) error {
	return b.lines(ctx, container, func(l string) bool {
		var e wire.Event
		if json.Unmarshal([]byte(l), &e) != nil {
			if strings.TrimSpace(l) != "" {
				b.o.Log("build of %s v%d, %s: %s", b.Request.App, b.Request.Version, container, l)
			}
			return false
		}
		return each(e)
	})
}

// nodeAway reports whether the API server answers, and says that it cannot reach the Pod's node. Kubernetes itself takes Pods from a lost
// node only while another node of the cluster is ready: where there is one node, or all are lost, nothing else tells.
func nodeAway(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= http.StatusInternalServerError
}

// lines hands out the lines of a container that has started, until one says that it is the last or the container ends. Connections that
// break are made again.
func (b *running) lines(ctx context.Context, container string, each func(string) (last bool)) error {
	log := &kube.PodLog{Client: b.o.Client, Namespace: b.o.Namespace, Pod: b.name, Container: container}
	following, stop := context.WithCancel(ctx)
	defer stop()
	finished := false
	read := func(ctx context.Context, follow bool) error {
		return log.Read(ctx, follow, func(l string) {
			if !finished && each(l) {
				finished = true
				stop()
			}
		})
	}
	done := make(chan struct{})
	var refused error
	go func() {
		defer close(done)
		var away time.Time // since when the node has been out of reach
		for following.Err() == nil {
			switch err := read(following, true); {
			case apierrors.IsForbidden(err):
				refused = kube.Explain(err, "read the log of the build's Pod")
				stop()
			case !nodeAway(err):
				away = time.Time{}
			case away.IsZero():
				away = time.Now()
			case time.Since(away) > b.reach:
				p, _, _ := b.watched.get()
				b.Cancel(lost(p))
			}
			select {
			case <-following.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	_, _ = b.watched.wait(following, ended(container))
	if ctx.Err() == nil && following.Err() == nil { // it has ended
		select {
		case <-done:
		case <-time.After(50 * time.Millisecond): // the last lines are on their way; else they are read below
		}
	}
	stop()
	<-done
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if refused != nil {
		return refused
	}
	if !finished {
		_ = read(ctx, false)
	}
	return context.Cause(ctx)
}
