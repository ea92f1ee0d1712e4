package local

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/sandbox"
)

// adoptWait is how long Open waits for adopted instances to answer. An app that served before answers at once; one that does not must not
// delay the others.
const adoptWait = time.Second

// adopt takes over the containers of an earlier process: instances of existing revisions continue to serve; containers that have ended,
// or whose revision does not exist, are removed.
func (p *Platform) adopt(ctx context.Context) error {
	containers, err := p.opts.Host.Containers(ctx)
	if err != nil {
		return err
	}
	p.resumeWorkers(containers)
	var answered []<-chan struct{}
	for _, c := range containers {
		if c.Labels[labelPlatform] != platformLocal {
			continue
		}
		r := p.revisionOf(c)
		switch {
		case c.Labels[labelRun] != "": // also one that has ended: how is still to be asked
			if err := p.adoptRun(c); err != nil {
				return err
			}
		case r != nil && c.Labels[labelProcess] != "": // resumeWorkers has handled it
		case r == nil || isDone(c):
			p.tasks.Go(func() {
				if err := c.Remove(context.WithoutCancel(p.ctx)); err != nil {
					p.opts.Log("deploy: remove %s: %v", c.ID, err)
				}
			})
		default:
			answered = append(answered, r.adopt(c))
		}
	}
	limit := time.NewTimer(adoptWait)
	defer limit.Stop()
	for _, done := range answered {
		select {
		case <-done:
		case <-p.ctx.Done():
		case <-limit.C:
			return nil
		}
	}
	return nil
}

// revisionOf returns the revision that a container is of; nil where it does not exist.
func (p *Platform) revisionOf(c *sandbox.Container) *revision {
	if s := p.services[c.Labels[labelService]]; s != nil {
		return s.revisions[c.Labels[labelRevision]]
	}
	return nil
}

func isDone(c *sandbox.Container) bool {
	return isClosed(c.Done())
}

// adopt takes over a running container. The channel is closed when the app answers, or is found not to.
func (r *revision) adopt(c *sandbox.Container) <-chan struct{} {
	answered := make(chan struct{})
	in := r.newInstance(c.ID, c.Labels[labelLog])
	in.attach(c)
	r.sinkAgain(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted++
	r.supervise(in, func(ctx context.Context) error {
		defer close(answered)
		return in.awaitReady(ctx, r.deadline)
	})
	return answered
}
