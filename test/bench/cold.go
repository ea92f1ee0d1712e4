package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// coldWindow is the shortest window that Knative's autoscaler takes: an app without requests is at zero soon after it.
const coldWindow = "6s"

// cold measures the first request to an app at zero against runc alone with the same OCI spec, in turn from a prepared instance and without
// one. Several apps wait for their zero at the same time: the autoscaler's grace period makes that slow.
func (b *bench) cold() error {
	apps, rounds := b.rounds(4, 4), b.rounds(4, 2)
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
	var prepared, unprepared, peer samples
	for round := range rounds {
		measured, what := &prepared, "prepared"
		if round%2 == 1 {
			measured, what = &unprepared, "unprepared"
		}
		b.say("  waiting for %d apps to be at zero", apps)
		for _, app := range slices.Sorted(maps.Keys(last)) {
			if err := b.waitForZero(app); err != nil {
				return err
			}
		}
		if err := b.waitForPrepared(apps); err != nil {
			return err
		}
		if what == "unprepared" {
			if err := b.killPrepared(); err != nil {
				return err
			}
		}
		if err := b.measureCold(last, bare, what, measured, &peer); err != nil {
			return err
		}
	}
	b.report.title("Cold start from zero")
	b.report.ratio("first answer, prepared, against bare runc run of the same spec", prepared, peer, 0.6)
	b.report.ratio("first answer, unprepared, against the same", unprepared, peer, 1.15)
	return nil
}

// measureCold asks each app at zero once, in turn with runc alone.
func (b *bench) measureCold(last map[string]instance, bare *bareRunc, what string, measured, peer *samples) error {
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
		measured.add(took)
		peer.add(alone)
		b.say("  gitd, %s, %s, runc run %s", what, seconds(took.Seconds()), seconds(alone.Seconds()))
	}
	return nil
}

// preparedDirs are the directories of prepared containers.
func (b *bench) preparedDirs() []string {
	marks, _ := filepath.Glob(filepath.Join(b.server.data, "sandbox", "containers", "*", "prepared"))
	for i, m := range marks {
		marks[i] = filepath.Dir(m)
	}
	return marks
}

// waitForPrepared blocks until so many apps are prepared, and each of them waits.
func (b *bench) waitForPrepared(apps int) error {
	for deadline := time.Now().Add(time.Minute); ; {
		ready := 0
		for _, dir := range b.preparedDirs() {
			if _, err := os.Stat(filepath.Join(dir, "init.json")); err == nil {
				ready++
			}
		}
		if ready >= apps {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after a minute %d of %d apps at zero are prepared", ready, apps)
		}
		if err := b.pause(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return b.pause(time.Second)
}

// killPrepared ends what is prepared, so that the next starts are from nothing.
func (b *bench) killPrepared() error {
	for _, dir := range b.preparedDirs() {
		var init struct{ PID int }
		text, err := os.ReadFile(filepath.Join(dir, "init.json"))
		if err != nil || json.Unmarshal(text, &init) != nil || init.PID <= 1 {
			return fmt.Errorf("%s is not prepared: %v", dir, err)
		}
		if err := syscall.Kill(init.PID, syscall.SIGKILL); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(time.Minute); len(b.preparedDirs()) > 0; {
		if time.Now().After(deadline) {
			return errors.New("prepared instances that were killed are not removed")
		}
		if err := b.pause(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return b.pause(time.Second)
}

// pause waits, or ends with the bench.
func (b *bench) pause(d time.Duration) error {
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-time.After(d):
		return nil
	}
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

// waitForZero blocks until no container of the app is there but a prepared one, and the machine had a moment to clean up. Not by the number of a
// network namespace, which the kernel gives to another one.
func (b *bench) waitForZero(app string) error {
	for deadline := time.Now().Add(2 * time.Minute); b.runs(app); {
		if time.Now().After(deadline) {
			return errors.New("the app is not at zero two minutes after its last request")
		}
		if err := b.pause(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return b.pause(time.Second)
}

// runs says whether an instance of the app runs.
func (b *bench) runs(app string) bool {
	all, _ := filepath.Glob(filepath.Join(b.server.data, "sandbox", "containers", app+"-v*"))
	for _, dir := range all {
		if _, err := os.Stat(filepath.Join(dir, "prepared")); err != nil {
			return true
		}
	}
	return false
}
