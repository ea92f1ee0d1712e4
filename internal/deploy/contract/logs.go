package contract

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// logs: lines are complete, in the order of time and told apart by revision; a reader can follow them across a rollout.
func (s *suite) logs(t *testing.T) {
	s.mustRoll(t, stays(s.service("logs", "v1")))
	for i := range 5 {
		s.want(t, "logs", fmt.Sprintf("/say?line=line-%d", i), "")
	}
	read := func(o deploy.LogOptions) string {
		var b bytes.Buffer
		if err := s.env.Platform.Logs(within(t), "logs", o, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	apptest.Eventually(t, settles, "the log is complete", func() bool { return strings.Contains(read(deploy.LogOptions{}), "line-4") })
	contains(t, read(deploy.LogOptions{}), "[logs-v1 ", "] v1 starts as ", "line-0\n", "line-4\n")
	if lines := strings.Split(strings.TrimSpace(read(deploy.LogOptions{Tail: 2})), "\n"); len(lines) != 2 || !strings.HasSuffix(lines[1], "] line-4") {
		t.Errorf("tail: %q", lines)
	}
	last := time.Time{}
	for line := range strings.Lines(read(deploy.LogOptions{})) {
		at, _, _ := strings.Cut(line, " ")
		when, err := time.Parse(deploy.LogTime, at)
		if err != nil || when.Before(last) || time.Since(when).Abs() > time.Hour {
			t.Errorf("after %s: %s", last, line)
		}
		last = when
	}
	s.follow(t)
	text := read(deploy.LogOptions{Revision: "logs-v2"})
	contains(t, text, "[logs-v2 ")
	if strings.Contains(text, "[logs-v1 ") {
		t.Error("the log of one revision has lines of another")
	}
}

// follow reads the log while lines come and a revision replaces another one.
func (s *suite) follow(t *testing.T) {
	ctx, cancel := context.WithCancel(within(t))
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- s.env.Platform.Logs(ctx, "logs", deploy.LogOptions{Follow: true, Tail: 1}, w)
		w.Close()
	}()
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(r); in.Scan(); {
			lines <- in.Text()
		}
	}()
	until := func(part string) {
		t.Helper()
		for {
			select {
			case l, ok := <-lines:
				if !ok {
					t.Fatalf("the log ended before %q", part)
				}
				if strings.Contains(l, part) {
					return
				}
			case <-time.After(2 * time.Minute):
				t.Fatalf("no %q in two minutes", part)
			}
		}
	}
	until("line-4")
	s.want(t, "logs", "/say?line=followed", "")
	until("followed")
	s.mustRoll(t, stays(s.service("logs", "v2")))
	until("v2 starts as ")
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("follow: %v", err)
	}
}
