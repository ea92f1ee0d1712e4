package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// diskStep fills the file system that gitd is on.
func diskStep(_ context.Context, t *trial) error {
	t.until("site is at zero", time.Minute, "^$", pids("site"))
	defer t.run("rm -f /var/full /var/full2")
	t.check("the disk is full", `100%`, t.sh("fallocate -l $(df -B1 --output=avail / | tail -1) /var/full; cat /dev/zero >/var/full2 2>/dev/null; sync; df -h / | tail -1"))
	t.check("a running app answers", "^probe v", t.sh(t.ask("probe", "/")))
	t.check("an app at zero starts", "site v", t.sh(t.ask("site", "/")))
	out, err := t.push("node")
	t.check("a push without a change, or a refusal in words", "up-to-date|nearly full|disk", fmt.Sprint(out, err))
	t.check("gitd restarts", "^exit 0", t.sh("systemctl restart gitd; echo exit $?"))
	t.until("and apps answer", 30*time.Second, "^probe v", t.ask("probe", "/"))
	_, _ = t.run("rm -f /var/full /var/full2")
	if _, err := t.run("cd /root/apps/site && sed -i 's/site v[0-9]*/site v2/' index.html && git commit -qam v2"); err != nil {
		return err
	}
	out, err = t.push("site")
	t.check("with room again, a push goes live", "is live", fmt.Sprint(out, err))
	t.check("and answers", "site v2", t.sh(t.ask("site", "/")))
	return nil
}

// rebootStep reboots: what takes systemd's 90 s on the way down is what does not end by itself.
func rebootStep(ctx context.Context, t *trial) error {
	want := map[string]string{"probe": "probe v", "node": "node v", "site": "site v"}
	seen, _ := os.ReadFile(t.console())
	began := time.Now()
	if out, err := t.run("systemctl reboot"); err != nil && !errors.Is(err, errLost) {
		return fmt.Errorf("%w: %s", err, out)
	}
	bound := 30 * time.Second
	if t.accel == "tcg" {
		bound = 80 * time.Second
	}
	said, down := "", false
	for !down && time.Since(began) < 5*time.Minute {
		time.Sleep(100 * time.Millisecond)
		b, _ := os.ReadFile(t.console())
		said = string(b[min(len(seen), len(b)):])
		down = strings.Contains(said, "Linux version")
	}
	took := time.Since(began)
	t.report.add("the machine goes down in time", down && took < bound, fmt.Sprint("less than ", bound), fmt.Sprintf("%.1f s", took.Seconds()))
	waited := regexp.MustCompile(`(?m)^.*Waiting for process.*$`).FindAllString(said, -1)
	t.report.add("nothing is waited for until it is killed", len(waited) == 0, "no line \"Waiting for process\"", strings.Join(waited, "\n"))
	if err := t.await(ctx); err != nil {
		return err
	}
	t.back("reboot", want)
	return nil
}

// back wants all apps to answer after a boot.
func (t *trial) back(when string, want map[string]string) {
	t.until(when+": gitd runs", time.Minute, "^active$", "systemctl is-active gitd")
	for app, w := range want {
		t.until(when+": "+app+" answers without a push", time.Minute, w, t.ask(app, "/"))
	}
	t.until(when+": the worker of node runs", 20*time.Second, `^[1-9]`, "pgrep -fc '[w]hile :; do date'") // its log may be of before
	if err := t.cloud(); err != nil {
		t.report.add(when+": a cloud beside the machine", false, "no error", err.Error())
	}
	t.walls(when)
	t.check(when+": the limits are there", `^536870912 50000 100000 `, t.sh(limits()))
}

// powerStep cuts the power: QEMU is killed, and what the machine has not written to its disk is gone.
func powerStep(ctx context.Context, t *trial) error {
	if err := t.edit("probe", "main.go", "v7"); err != nil {
		return err
	}
	_, err := t.run("rm -rf /root/apps/fresh && cp -r /root/apps/site /root/apps/fresh && cd /root/apps/fresh && rm -rf .git && echo fresh v1 >index.html && git init -q && git add -A && git commit -qm one && git remote add platform ssh://git@127.0.0.1:2222/fresh && sync")
	if err != nil {
		return err
	}
	for _, app := range []string{"fresh", "probe"} {
		out, err := t.push(app)
		if !t.check("push "+app, "is live", fmt.Sprint(out, err)) {
			return nil
		}
	}
	want := map[string]string{"probe": "probe v7", "node": "node v", "site": "site v", "fresh": "fresh v1"}
	if err := t.cut(ctx, "cut after two pushes", want); err != nil {
		return err
	}

	// In the middle of a push: the live version stays, and the next push works.
	if err := t.edit("probe", "main.go", "v8"); err != nil {
		return err
	}
	_, _ = t.run("sync; cd /root/apps/probe && (git push platform main >/tmp/push 2>&1 &)")
	got, ok := t.poll(t.slow(30*time.Second), "Building|Detecting", "cat /tmp/push")
	t.report.add("a push is building", ok, "Building", got)
	if err := t.cut(ctx, "cut during a build", want); err != nil {
		return err
	}
	out, err := t.push("probe")
	t.check("the next push goes live", "is live", fmt.Sprint(out, err))
	t.check("and answers", "probe v8", t.sh(t.ask("probe", "/")))
	return nil
}

// cut cuts the power, boots, and wants the apps to be as they were.
func (t *trial) cut(ctx context.Context, when string, want map[string]string) error {
	t.kill()
	if err := t.start(ctx); err != nil {
		return err
	}
	t.back(when, want)
	for app := range want {
		live := t.sh(gitd + " releases " + app + " | awk '/ live/ {print; exit}'")
		ref := t.sh("git ls-remote ssh://git@127.0.0.1:2222/" + app + " refs/heads/main | cut -c1-7")
		t.report.add(when+": "+app+"'s ref is what is live", ref != "" && strings.Contains(live, ref), ref, live)
	}
	return nil
}
