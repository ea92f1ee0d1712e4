package local

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy/contract"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// A revision that is deleted while a request hangs in it delays neither the app's next release nor its rollback, and has one drain time, not two.
func TestDeletedRevisionDelaysNothing(t *testing.T) {
	const drain = 3 * time.Second
	m := newMachine(t)
	p := m.open(t, func(o *Options) { o.DrainTimeout = drain })
	f := serve(t, p)
	image := m.add(t, "testapp", contract.Image(t))
	version := func(v string) *servingv1.Service {
		svc := newService("busy", image, "VERSION="+v)
		svc.Spec.Template.Name = "busy-" + v
		svc.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "busy-" + v, Percent: ptr.Int64(100)}}
		return svc
	}
	apply := func(v string) time.Duration {
		began := time.Now()
		if err := p.Apply(t.Context(), version(v)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if err := p.WaitReady(t.Context(), "busy", "busy-"+v); err != nil {
			t.Fatal(err)
		}
		return took
	}
	apply("v1")
	hanging := make(chan struct{})
	go func() {
		defer close(hanging)
		_, _, _ = get(f.address, "busy.localhost", "/sleep?ms=60000")
	}()
	apptest.Eventually(t, time.Minute, "the request is there", func() bool {
		d, err := p.Describe(t.Context(), "busy")
		return err == nil && d[0].InFlight == 1
	})
	apply("v2")

	deleted := make(chan error, 1)
	began := time.Now()
	go func() { deleted <- p.DeleteRevision(t.Context(), "busy", "busy-v1") }()
	apptest.Eventually(t, time.Minute, "v1 is on its way out", func() bool { d, err := p.Describe(t.Context(), "busy"); return err == nil && len(d) == 1 })
	for _, v := range []string{"v3", "v2"} {
		if took := apply(v); took > drain/2 {
			t.Errorf("%s waited %s for a revision that ends", v, took)
		}
	}
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < drain || took > 10*drain {
		t.Errorf("it ended after %s; in flight may be for %s", took, drain)
	}
	<-hanging
}

// A machine without memory starts no more instances of an app that has one, and says so.
func TestNoMemoryNoMoreInstances(t *testing.T) {
	m := newMachine(t)
	var left atomic.Int64
	p := m.open(t, func(o *Options) { o.MemoryLeft = left.Load })
	f := serve(t, p)
	svc := newService("crowded", m.add(t, "testapp", contract.Image(t)))
	svc.Spec.Template.Spec.ContainerConcurrency = ptr.Int64(1)
	svc.Spec.Template.Annotations = map[string]string{"autoscaling.knative.dev/window": "6s", "autoscaling.knative.dev/max-scale": "2"}
	if err := p.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	instances := func() int {
		d, err := p.Describe(t.Context(), "crowded")
		if err != nil {
			t.Fatal(err)
		}
		return d[0].Instances
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = get(f.address, "crowded.localhost", "/sleep?ms=20")
			}
		})
	}
	apptest.Eventually(t, time.Minute, "the first instance starts in any case", func() bool { return instances() == 1 })
	r := p.services["crowded"].revisions["crowded-v1"]
	apptest.Eventually(t, time.Minute, "it wants more, and says that there is no memory", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.wanted == 2 && !r.lowMemory.IsZero()
	})
	if n := instances(); n != 1 {
		t.Errorf("%d instances", n)
	}
	left.Store(2 << 30)
	apptest.Eventually(t, time.Minute, "there is memory again", func() bool { return instances() == 2 })
	cancel()
	wait.Wait()
	apptest.Eventually(t, time.Minute, "no memory is held back for starts that are over", func() bool { return p.promised.Load() == 0 })
}
