package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// coldWindow is the shortest window that Knative's autoscaler takes: an app without requests is at zero soon after it.
const coldWindow = "6s"

// cold measures the first request to an app at zero against runc alone with the same OCI spec. Several apps wait for their
// zero at the same time: the autoscaler's grace period makes that slow.
func (b *bench) cold() error {
	apps, rounds := b.rounds(4, 4), b.rounds(2, 1)
	last := map[string]instance{}
	var bare *bareRunc
	for n := range apps {
		app := fmt.Sprintf("cold-%d", n)
		s, _, err := b.useApp(app, "[io.gitd.web]\nwindow = \""+coldWindow+"\"\nmax-scale = 1\n")
		if err != nil {
			return err
		}
		i, err := s.who(app)
		if err != nil {
			return err
		}
		last[app] = i
		if bare == nil {
			if bare, err = b.newBareRunc(i, false); err != nil {
				return err
			}
			defer bare.close()
		}
	}
	var gitd, peer samples
	for range rounds {
		b.say("  waiting for %d apps to be at zero", apps)
		for _, app := range slices.Sorted(maps.Keys(last)) {
			if err := b.waitForZero(last[app]); err != nil {
				return err
			}
		}
		for _, app := range slices.Sorted(maps.Keys(last)) {
			i, took, err := b.firstRequest(app)
			if err != nil {
				return err
			}
			if i.started == last[app].started {
				return errors.New("the instance was not at zero")
			}
			last[app] = i
			alone, remove, err := bare.run()
			if err != nil {
				return err
			}
			remove()
			gitd.add(took)
			peer.add(alone)
			b.say("  gitd %s, runc run %s", seconds(took.Seconds()), seconds(alone.Seconds()))
		}
	}
	b.report.title("Cold start from zero")
	b.report.ratio("first answer against bare runc run of the same spec", gitd, peer, 1.5)
	return nil
}

// firstRequest asks once, with a client of its own: the connection is part of a first request.
func (b *bench) firstRequest(app string) (instance, time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	asked := time.Now()
	status, body, err := b.server.get(client, app, "/who")
	took := time.Since(asked)
	if err != nil {
		return instance{}, 0, err
	}
	i, err := parseInstance(status, body)
	return i, took, err
}

// waitForZero blocks until no process lives in the instance's network namespace, and the machine had a moment to clean up.
func (b *bench) waitForZero(i instance) error {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if _, err := processIn(i.namespace); err != nil {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("the app is not at zero two minutes after its last request")
		}
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}
