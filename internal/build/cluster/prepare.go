package cluster

import (
	"context"
	"errors"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/kube"
)

// prepare waits for the Pod to start, hands the source over, and waits until the previous image is analyzed and its layers are restored.
func (b *running) prepare(ctx context.Context, d *delivery) error {
	if err := b.waitForStart(ctx); err != nil {
		return err
	}
	b.Progress.Enter("preparation")
	reading, stop := context.WithCancel(ctx)
	defer stop()
	sent := b.sendBeside(reading, stop, d)
	var failed *wire.Failed
	whole := false
	err := b.events(reading, wire.Prepare, func(e wire.Event) (last bool) {
		switch {
		case e.Analyzed != nil:
			b.Result.Times.Analyze = time.Duration(e.Analyzed.Milliseconds) * time.Millisecond
			whole = true
		case e.Failed != nil:
			failed = e.Failed
		}
		return whole || failed != nil
	})
	stop()
	sendErr := <-sent
	var told *app.Error
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case whole:
		return nil
	case errors.As(err, &told):
		return told
	}
	return b.notPrepared(ctx, failed, sendErr, err)
}

// waitForStart waits until the first container runs.
func (b *running) waitForStart(ctx context.Context) error {
	b.Progress.Enter("wait for a node")
	onNode := func(p *corev1.Pod) bool { return p != nil && p.Spec.NodeName != "" }
	if p, err := b.watched.wait(ctx, onNode); err != nil {
		return err
	} else if onNode(p) {
		b.Progress.Enter("start on the node " + p.Spec.NodeName + " (a new node pulls the builder image first)")
	}
	_, err := b.watched.wait(ctx, started(wire.Prepare))
	return err
}

// sendBeside hands the source over while the Pod's events are read, which it stops where that fails.
func (b *running) sendBeside(ctx context.Context, stop func(), d *delivery) <-chan error {
	sent := make(chan error, 1)
	go func() {
		began := time.Now()
		err := b.send(ctx, d)
		b.sending = time.Since(began)
		if err != nil && ctx.Err() == nil {
			// What was sent may have been enough for gitd-pod to say what is wrong. Where it got nothing, it waits for ever.
			time.AfterFunc(2*time.Second, stop)
		}
		sent <- err
	}()
	return sent
}

// notPrepared says why the preparation came to no end: what gitd-pod said failed (nil for nothing), how sending the source and reading its
// events ended. A *brokenDelivery is worth another Pod. Where only the log was lost, nothing is wrong.
func (b *running) notPrepared(ctx context.Context, failed *wire.Failed, sendErr, err error) error {
	if failed == nil {
		failed = b.failed(wire.Prepare)
	}
	switch {
	case failed != nil && failed.Phase != "source":
		return b.registryFailure(failed)
	case sendErr != nil && apierrors.IsForbidden(sendErr):
		return kube.Explain(sendErr, "hand the source to the build's Pod")
	case sendErr != nil && !errors.Is(sendErr, context.Canceled):
		return &brokenDelivery{sendErr}
	case failed != nil:
		return &brokenDelivery{errors.New(failed.Message)}
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	}
	if p, err := b.watched.wait(ctx, ended(wire.Prepare)); err != nil {
		return err
	} else if s := state(p, wire.Prepare); s != nil && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0 { // its log is lost
		return nil
	}
	return b.died(ctx, wire.Prepare, "preparation")
}

// send hands the source over.
func (b *running) send(ctx context.Context, d *delivery) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	written := make(chan error, 1)
	go func() {
		err := d.write(ctx, w)
		_ = w.Close()
		written <- err
	}()
	err = b.o.Client.Attach(ctx, b.o.Namespace, b.name, wire.Prepare, r)
	_ = r.Close()
	if writeErr := <-written; err == nil { // else only the reader is gone
		return writeErr
	}
	return err
}
