package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/sandbox/output"
	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// prepare prepares the probe.
func prepare(t *testing.T, h *Host, s Spec) *Prepared {
	t.Helper()
	s.Layers, s.UID, s.GID, s.Memory, s.Scratch = []string{probe}, 1000, 1000, 128<<20, 128<<20
	p, err := h.Prepare(within(t, time.Minute), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A prepared container starts with the environment of its Spec and the secrets of its start, and no more than one that was not prepared.
func TestPrepared(t *testing.T) {
	h := openHost(t)
	log := filepath.Join(t.TempDir(), "log")
	s := Spec{ID: "app", Labels: map[string]string{"is": "app"}, Args: []string{"probe", "environment"}, Env: []string{"A=plain", "B=plain", "PATH=/nowhere:/"}, LogFile: log}
	p := prepare(t, h, s)
	if all, err := h.Containers(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("while it is prepared: %v, %v", all, err)
	}
	began := time.Now().UTC()
	c, err := p.Start(t.Context(), map[string][]byte{"B": []byte("sealed=\n"), "C": []byte("more")})
	if err != nil {
		t.Fatal(err)
	}
	if c.Started.Before(began) {
		t.Errorf("started at %v, before %v", c.Started, began)
	}
	if e := ended(t, c); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	var said []string
	for _, l := range output.Tail(log, 20, time.Time{}) {
		said = append(said, l.Text)
	}
	got := strings.Join(said, "\n")
	for _, want := range []string{"A=plain", "B=sealed=", "C=more", "PATH=/nowhere:/"} {
		if !strings.Contains("\n"+got+"\n", "\n"+want+"\n") {
			t.Errorf("without %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "B=plain") || strings.Contains(got, "GOGC") {
		t.Errorf("too much:\n%s", got)
	}
	if err := c.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	nothingLeft(t, h)
}

// The attack: an app that was prepared keeps what its container was prepared with: a descriptor of gitd's program, through which it could be
// changed, or the socket to gitd.
func TestAttack_PreparedDescriptors(t *testing.T) {
	h := openHost(t)
	log := filepath.Join(t.TempDir(), "log")
	p := prepare(t, h, Spec{ID: "attack", Args: []string{"/probe", "list", "/proc/self/fd"}, LogFile: log})
	c, err := p.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c)
	plain := start(t, h, Spec{ID: "plain", Args: []string{"/probe", "list", "/proc/self/fd"}, UID: 1000, GID: 1000, LogFile: log + ".plain"})
	ended(t, plain)
	text := func(log string) (s []string) {
		for _, l := range output.Tail(log, 20, time.Time{}) {
			s = append(s, l.Text)
		}
		return s
	}
	if got, want := fmt.Sprint(text(log)), fmt.Sprint(text(log+".plain")); got != want || got == "[]" {
		t.Errorf("descriptors %s, of one that was not prepared %s", got, want)
	}
}

// A prepared container that cannot start, or is not started, leaves nothing.
func TestPreparedEnds(t *testing.T) {
	h := openHost(t)
	p := prepare(t, h, Spec{ID: "missing", Args: []string{"/not-there"}})
	_, err := p.Start(t.Context(), nil)
	apptest.WantError(t, err, app.CodeStartFailed, "could not be started", "/not-there")
	p = prepare(t, h, Spec{ID: "killed", Args: []string{"/probe", "sleep", "1h"}, Egress: true})
	if err := unix.Kill(p.container.init.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if c, err := p.Start(t.Context(), nil); err == nil {
		t.Errorf("it was killed: %v", c)
	}
	p = prepare(t, h, Spec{ID: "outdated", Args: []string{"/probe", "sleep", "1h"}, Egress: true})
	p.launched.resolv = "nameserver 192.0.2.1\n"
	if c, err := p.Start(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "name servers have changed") {
		t.Errorf("with other name servers: %v, %v", c, err)
	}
	if err := prepare(t, h, Spec{ID: "removed", Args: []string{"/probe", "sleep", "1h"}}).Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(h.opts.Dir, containersDir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	nothingLeft(t, h)
}

// One that was prepared and started is adopted as any other, with the time of its start; its priority is that of any other.
func TestPreparedAdopted(t *testing.T) {
	dir := t.TempDir()
	h := openHostAt(t, dir)
	p := prepare(t, h, Spec{ID: "app", Args: []string{"/probe", "sleep", "1h"}})
	if _, err := os.Stat(filepath.Join(p.container.dir, shim.PreparedFile)); err != nil {
		t.Error(err)
	}
	c, err := p.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := unix.Getpriority(unix.PRIO_PROCESS, c.init.PID)
	ours, e := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid())
	if err != nil || e != nil || ours != theirs {
		t.Errorf("priority %d, ours is %d, %v, %v", theirs, ours, err, e)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHostAt(t, dir)
	all, err := h.Containers(t.Context())
	if err != nil || len(all) != 1 || all[0].Started.Sub(c.Started).Abs() > time.Millisecond {
		t.Fatalf("%+v, %v", all, err)
	}
}
