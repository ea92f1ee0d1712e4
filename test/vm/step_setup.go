package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func machineStep(_ context.Context, t *trial) error {
	t.check("process 1", "^systemd$", t.sh("ps -p 1 -o comm="))
	t.check("kernel", `^\d`, t.sh("uname -rm"))
	t.check("control groups", "^cgroup2fs$", t.sh("stat -f -c %T /sys/fs/cgroup"))
	t.check("no version 1 beside them", "^0$", t.sh("grep -c ' - cgroup ' /proc/self/mountinfo || :"))
	t.check("AppArmor", "^Y$", t.sh("cat /sys/module/apparmor/parameters/enabled"))
	t.check("release", t.suite, t.sh(". /etc/os-release; echo $PRETTY_NAME; systemctl --version | head -1; runc --version | head -1; git --version"))
	return nil
}

// installStep follows the page: the files, the units, the first key.
func installStep(_ context.Context, t *trial) error {
	_, err := t.run(`set -e
		mkdir -p /usr/local/lib/gitd /var/cache/gitd
		cp -r /media/programs/gitd/. /usr/local/lib/gitd/
		cp -a /media/builders/. /var/cache/gitd/; rmdir /var/cache/gitd/lost+found
		cp /media/programs/units/* /etc/systemd/system/
		cp -r /media/programs/apps /root/apps`)
	if err != nil {
		return err
	}
	units := slices.Sorted(maps.Keys(t.page.units))
	t.check("systemd finds no fault with the units", "^$", t.sh("cd /etc/systemd/system && systemd-analyze verify "+strings.Join(units, " ")))
	if out, err := t.run("systemctl daemon-reload && systemctl enable --now " + strings.Join(units, " ") + " 2>&1"); err != nil {
		return fmt.Errorf("systemctl enable: %w\n%s", err, out)
	}
	if !t.until("is ready", 2*time.Minute, "Ready:", "journalctl -u gitd -b --no-pager -o cat | tail -20") {
		return fmt.Errorf("gitd does not start")
	}
	t.check("state", "^active$", t.sh("systemctl is-active gitd"))
	t.check("started once", "^0$", t.sh("systemctl show -P NRestarts gitd"))
	_, err = t.run(`set -e
		ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/pusher
		git config --system core.sshCommand 'ssh -i /root/.ssh/pusher -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new'
		git config --system user.name vm; git config --system user.email vm@example.com; git config --system init.defaultBranch main`)
	if err != nil {
		return err
	}
	t.check("the first key", "laptop", t.sh(gitd+" keys add laptop --admin < /root/.ssh/pusher.pub && "+gitd+" keys"))
	return nil
}

func pushStep(_ context.Context, t *trial) error {
	for _, app := range []string{"probe", "site", "node"} {
		_, err := t.run(fmt.Sprintf("cd /root/apps/%s && git init -q && git add -A && git commit -qm one && git remote add platform ssh://git@127.0.0.1:2222/%[1]s", app))
		if err != nil {
			return err
		}
		out, err := t.push(app)
		if !t.check("push "+app, `is live`, fmt.Sprint(out, " ", err)) {
			return fmt.Errorf("the push of %s failed", app)
		}
		t.check(app+" answers", app+" v1", t.sh(t.ask(app, "/")))
	}
	t.until("the worker of node runs", 10*time.Second, `clock.*20\d\d-`, gitd+" logs node -n 5")
	if err := t.edit("probe", "main.go", "v2"); err != nil {
		return err
	}
	out, err := t.push("probe")
	t.check("a second version", "is live", fmt.Sprint(out, " ", err))
	t.check("it answers", "probe v2", t.sh(t.ask("probe", "/")))
	t.check("rollback", "probe-v1|v1", t.sh(gitd+" rollback probe 2>&1"))
	t.check("the first one answers again", "probe v1", t.sh(t.ask("probe", "/")))
	return nil
}

// update is what -resume begins with: another gitd in the place of the installed one.
var update = step{"update", "another version of gitd", true, func(_ context.Context, t *trial) error {
	_, err := t.run(`set -e
		cp -r --remove-destination /media/programs/gitd/. /usr/local/lib/gitd/
		cp -a --no-clobber /media/builders/. /var/cache/gitd/ || : # some versions fail where a file is there
		cp /media/programs/units/* /etc/systemd/system/; systemctl daemon-reload
		systemctl enable -q $(ls /media/programs/units)
		systemctl stop gitd; for s in $(ls /media/programs/units | grep socket || :); do systemctl restart $s; done; systemctl start gitd`)
	t.until("is ready", 2*time.Minute, "Ready:", "journalctl -u gitd -b --no-pager -o cat | tail -20")
	for _, app := range []string{"probe", "node"} {
		t.until(app+" answers", time.Minute, app+" v", t.ask(app, "/"))
	}
	return err
}}
