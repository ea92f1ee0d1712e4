package local

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/proxy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// start starts the container and waits until the app answers.
func (in *instance) start(ctx context.Context) error {
	if err := in.create(ctx); err != nil {
		return err
	}
	return in.awaitReady(ctx, in.revision.deadline)
}

// create unpacks what is missing of the image and starts the container.
func (in *instance) create(ctx context.Context) error {
	r, p := in.revision, in.revision.p
	defer in.leaveSpare()
	img, err := r.unpack(ctx) // before a start is acquired: unpacking a large image must not delay other apps
	if err != nil {
		return err
	}
	release, err := p.starts.acquire(ctx, r.service)
	if err != nil {
		return err
	}
	defer release()
	if in.spare != nil {
		if err := in.startSpare(ctx); err != nil || in.container != nil {
			return err
		}
	}
	if err := makeLog(in.log); err != nil {
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error()}
	}
	spec, err := r.spec(ctx, img)
	if err != nil {
		return err
	}
	defer func() { // its processes have them by then
		for _, value := range spec.Secrets {
			clear(value)
		}
	}()
	r.identify(&spec, in.id, in.log)
	if in.worker != nil {
		in.worker.apply(&spec)
	}
	c, err := p.opts.Host.Start(ctx, spec)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	in.attach(c)
	return nil
}

// identify says which instance a container is, and where it writes its log.
func (r *revision) identify(spec *sandbox.Spec, id, log string) {
	spec.ID, spec.LogFile, spec.LogSize, spec.Grace = id, log, r.p.opts.LogLimit, r.p.opts.StopGrace
	spec.Labels = map[string]string{labelPlatform: platformLocal, labelService: r.service, labelRevision: r.name, labelLog: log}
}

// attach gives the instance its container, and to one that serves requests the way into it.
func (in *instance) attach(c *sandbox.Container) {
	in.container = c
	if in.worker != nil {
		return
	}
	space, address := c.Space()
	in.proxy = in.revision.proxy.NewInstance(in.id, in.revision.h2c, proxy.Way{Space: space, Address: address, Port: in.revision.port})
}

// awaitReady polls the readiness probe until it passes. The error is a *deploy.StartError where the app exits, does not listen within the
// limit, or listens on other ports for a while.
func (in *instance) awaitReady(ctx context.Context, limit time.Duration) error {
	r, c := in.revision, in.container
	began := time.Now()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	check, needed := readiness(r.probe, in.id, r.port, r.h2c, c.Dial)
	if r.probe != nil && r.probe.InitialDelaySeconds > 0 {
		select {
		case <-time.After(time.Duration(r.probe.InitialDelaySeconds) * time.Second):
		case <-c.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ports := portWatch{in: in}
	for passed := 0; ; {
		if check(ctx) {
			if passed++; passed >= needed {
				return nil
			}
		} else {
			passed = 0
		}
		waited := time.Since(began)
		select {
		case <-c.Done():
			return in.exited()
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			all, _ := c.Listening()
			return in.notListening(slices.DeleteFunc(all, func(p int) bool { return p == r.port }), r.deadline)
		case <-time.After(probePause(waited)):
		}
		if waited >= 500*time.Millisecond {
			if err := ports.look(waited); err != nil {
				return err
			}
		}
	}
}

// probePause is the time between two probes of an instance that has been starting for so long.
func probePause(waited time.Duration) time.Duration {
	switch {
	case waited > 5*time.Second:
		return 100 * time.Millisecond
	case waited > time.Second:
		return 25 * time.Millisecond
	case waited > 100*time.Millisecond:
		return 5 * time.Millisecond
	}
	return time.Millisecond
}

// portWatch finds an instance that listens on other ports than the one it should, before its deadline.
type portWatch struct {
	in     *instance
	looked time.Time // last
	since  time.Time // when it was first seen on other ports only; zero where it is not
}

// look returns an error when the instance has listened on other ports only for some seconds: it will not change.
func (w *portWatch) look(waited time.Duration) error {
	if time.Since(w.looked) < 250*time.Millisecond {
		return nil
	}
	w.looked = time.Now()
	switch ports, err := w.in.container.Listening(); {
	case err != nil || len(ports) == 0 || slices.Contains(ports, w.in.revision.port):
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = w.looked
	case time.Since(w.since) > 3*time.Second:
		return w.in.notListening(ports, waited)
	}
	return nil
}

// notListening is the error of an instance that listens on these ports, if any, instead of its own.
func (in *instance) notListening(ports []int, waited time.Duration) error {
	e := &deploy.StartError{Reason: deploy.NotListening, Port: in.revision.port, Listens: ports, Waited: waited}
	e.LogTail = tailOf(in.log)
	return e
}

// exited is the error of an instance that ended by itself.
func (in *instance) exited() *deploy.StartError {
	exit := in.container.Exit()
	e := &deploy.StartError{Reason: deploy.Exited, Port: in.revision.port, ExitCode: exit.Code, Signal: exit.Signal}
	e.LogTail = tailOf(in.log)
	if exit.OutOfMemory {
		e.Reason, e.Detail = deploy.OutOfMemory, app.Size(in.memory())
	}
	return e
}

// describeExit says how a container ended, after "the instance" or a worker's name.
func describeExit(e sandbox.Exit, memory int64) string {
	switch {
	case e.Told:
		return "was terminated with the machine, or by a signal to gitd-shim"
	case e.OutOfMemory:
		return "was killed at its memory limit of " + app.Size(memory)
	case e.Signal != "":
		return "was terminated by a signal (" + e.Signal + ")"
	}
	return fmt.Sprintf("exited with status %d", e.Code)
}

// memory is the memory limit of an instance in bytes.
func (r *revision) memory() int64 {
	limits := r.template.Template.Spec.Containers[0].Resources.Limits
	if q, ok := limits[corev1.ResourceMemory]; ok && q.Value() > 0 {
		return q.Value()
	}
	return r.p.opts.Memory
}
