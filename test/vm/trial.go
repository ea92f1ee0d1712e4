package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// trial is the run of the steps on one machine.
type trial struct {
	*machine
	report *report
	page   page

	outside net.Listener // a server beyond the machine's network, for apps to reach
}

// step is one thing that is tried.
type step struct {
	name, about string
	needed      bool // the others need it
	run         func(ctx context.Context, t *trial) error
}

var steps = []step{
	{"machine", "what the machine is: kernel, systemd as process 1, cgroup version 2 alone, AppArmor", true, machineStep},
	{"install", "gitd as docs/install.md says, with its unit files", true, installStep},
	{"push", "a Go app, a static site, Node.js with a worker; a second version; a rollback", true, pushStep},
	{"limits", "memory, processes, processor time; also after systemd has rearranged its groups", false, limitsStep},
	{"memory", "an app out of memory: told, started again, gitd untouched", false, memoryStep},
	{"zero", "to zero and back", false, zeroStep},
	{"users", "each app has user IDs of its own", false, usersStep},
	{"network", "apps reach the network, and neither the machine nor a cloud's metadata", false, networkStep},
	{"restart", "systemctl restart, kill -9 and stop, under load", false, restartStep},
	{"sandbox", "the own tests of internal/sandbox", false, sandboxStep},
	{"flush", "another program flushes all nftables rules", false, flushStep},
	{"ufw", "ufw beside gitd", false, ufwStep},
	{"firewalld", "firewalld beside gitd", false, firewalldStep},
	{"docker", "Docker installed beside gitd", false, dockerStep},
	{"disk", "a full disk", false, diskStep},
	{"reboot", "a reboot: quick, and the apps come back without a push", false, rebootStep},
	{"power", "a power cut right after a push, and in the middle of one", false, powerStep},
}

// step runs one step. What kept it from being run to its end is a failed check; the error is for what ends the whole run.
func (t *trial) step(ctx context.Context, s step) error {
	began := time.Now()
	t.report.step = s.name
	say("%s %s: %s", t.suite, s.name, s.about)
	err := s.run(ctx, t)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		t.report.add("goes on to its end", false, "no error", err.Error())
	}
	if errors.Is(err, errLost) {
		if err := t.start(ctx); err != nil { // boots it again where QEMU has ended
			return fmt.Errorf("after the step %s: %w", s.name, err)
		}
	}
	say("%s %s took %.1f s", t.suite, s.name, time.Since(began).Seconds())
	if err != nil && s.needed {
		return fmt.Errorf("the other steps need %s", s.name)
	}
	return nil
}

// check wants got to match a regular expression.
func (t *trial) check(name, want, got string) bool {
	ok := regexp.MustCompile("(?s)" + want).MatchString(strings.TrimSpace(got))
	t.report.add(name, ok, want, got)
	return ok
}

// within wants a number that a command says to lie within bounds.
func (t *trial) between(name string, low, high float64, got string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(got), 64)
	ok := err == nil && low <= n && n <= high
	t.report.add(name, ok, fmt.Sprintf("%g to %g", low, high), got)
	return ok
}

// until runs a command again and again until what it says matches; d is for a fast machine.
func (t *trial) until(name string, d time.Duration, want, script string) bool {
	got, ok := t.poll(t.slow(d), want, script)
	t.report.add(name, ok, fmt.Sprintf("%s, within %v", want, t.slow(d)), got)
	return ok
}

func (t *trial) poll(d time.Duration, want, script string) (got string, ok bool) {
	match := regexp.MustCompile("(?s)" + want)
	for end := time.Now().Add(d); ; time.Sleep(200 * time.Millisecond) {
		if got = t.sh(script); match.MatchString(got) {
			return got, true
		}
		if time.Now().After(end) || !t.running() {
			return got, false
		}
	}
}

const gitd = "/usr/local/lib/gitd/gitd"

// ask is the command that asks an app for a path, from the machine itself.
func (t *trial) ask(app, path string) string {
	return fmt.Sprintf("curl -sS -m %d -H 'Host: %s.apps.example.com' 'http://127.0.0.1%s'", int(t.slow(30*time.Second).Seconds()), app, path)
}

// group is a shell expression: the control group of an app's first instance.
func group(app string) string {
	return fmt.Sprintf(`$(find /sys/fs/cgroup -mindepth 2 -maxdepth 4 -type d -path '*/gitd*/%s-*' | sort -V | tail -1)`, app)
}

// pid is a command that says the process IDs of an app's processes.
func pids(app string) string {
	return fmt.Sprintf(`cat $(find /sys/fs/cgroup -path '*/gitd*/%s-*/cgroup.procs') 2>/dev/null | sort -n | tr '\n' ' '`, app)
}

// push pushes an app's folder, and returns what git said.
func (t *trial) push(app string) (string, error) {
	out, err := t.within(t.slow(5*time.Minute), "cd /root/apps/"+app+" && git push platform main 2>&1")
	return strings.ReplaceAll(out, "remote: ", ""), err
}

// edit changes the version that an app's page says, and commits.
func (t *trial) edit(app, file, version string) error {
	_, err := t.run(fmt.Sprintf(`cd /root/apps/%s && sed -i 's/%s v[0-9]*/%s %s/' %s && git commit -qam %s`, app, app, app, version, file, version))
	return err
}

// journal is a command that says what gitd logged since a time of the machine (journalctl --since).
func journal(since string) string {
	return "journalctl -u gitd --no-pager -o cat --since " + quote(since)
}

// egressServer starts the server that stands for the internet.
func (t *trial) egressServer() (err error) {
	if t.outside, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	go func() {
		_ = http.Serve(t.outside, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "outside\n") })) //nolint:gosec // for the length of a test
	}()
	return nil
}

func (t *trial) close() { _ = t.outside.Close() }

// outsideURL is what the machine calls that server.
func (t *trial) outsideURL() string {
	_, port, _ := net.SplitHostPort(t.outside.Addr().String())
	return "http://10.0.2.2:" + port + "/"
}
