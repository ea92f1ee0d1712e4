package main

import (
	"context"
	"fmt"
	"time"
)

// limits are the files of the app probe's group: test/vm/testdata/apps/probe/project.toml has 512Mi and half a processor.
func limits() string {
	return fmt.Sprintf("cd %s && cat memory.max cpu.max pids.max memory.swap.max 2>&1 | tr '\\n' ' '", group("probe"))
}

func limitsStep(_ context.Context, t *trial) error {
	const want = `^536870912 50000 100000 \d+ 0$`
	t.check("memory.max, cpu.max, pids.max, memory.swap.max", want, t.sh(limits()))
	before := t.sh(pids("probe"))
	t.check("systemd rearranges its groups", "", t.sh("systemctl daemon-reload; systemd-run -q --wait -p CPUQuota=50% -p MemoryMax=100M -p TasksMax=50 true; systemctl restart cron; systemctl daemon-reexec"))
	t.check("the limits stay", want, t.sh(limits()))
	t.check("the app's processes are the same", "^"+before+"$", t.sh(pids("probe")))
	t.check("gitd runs on", "^active$", t.sh("systemctl is-active gitd"))

	t.check("300 processes", `^forked 300 <nil>`, t.sh(t.ask("probe", "/fork?n=300")))
	t.check("answers on", "^probe v", t.sh(t.ask("probe", "/")))

	stat := func(key string) string { // of all instances: the previous revision has one as well
		return fmt.Sprintf(`find /sys/fs/cgroup -path '*/gitd*/probe-*/cpu.stat' | xargs cat | awk '$1 == "%s" {n += $2} END {printf "%%.0f\n", n}'`, key)
	}
	t.between("seconds of processor time in 8 s of work on all processors, at half a processor", 0.5, 5.5,
		t.sh("a=$("+stat("usage_usec")+"); "+t.ask("probe", "/burn?s=8")+" >/dev/null; b=$("+stat("usage_usec")+"); awk -v a=$a -v b=$b 'BEGIN {print (b - a) / 1e6}'"))
	t.check("it was throttled", `^[1-9]`, t.sh(stat("nr_throttled")))
	return nil
}

func memoryStep(_ context.Context, t *trial) error {
	main := t.sh("systemctl show -P MainPID gitd")
	before := t.sh(pids("probe"))
	t.check("a request that needs 2000 MiB fails", "", t.sh(t.ask("probe", "/eat?mb=2000")))
	t.until("the app's log says why", 20*time.Second, "memory limit", gitd+" logs probe -n 20")
	t.until("it answers again", 30*time.Second, "^probe v", t.ask("probe", "/"))
	t.check("by another process", "^different$", t.sh(fmt.Sprintf("[ '%s' = \"$(%s)\" ] && echo the same || echo different", before, pids("probe"))))
	t.check("gitd is the same process", "^"+main+"$", t.sh("systemctl show -P MainPID gitd"))
	t.check("the kernel killed in the app's group alone", "^$", t.sh("journalctl -k -b --no-pager -o cat | grep -i 'oom-kill:' | grep -v CONSTRAINT_MEMCG || :"))
	return nil
}

func zeroStep(_ context.Context, t *trial) error {
	t.check("a request", "site v1", t.sh(t.ask("site", "/")))
	t.until("no process is left", time.Minute, "^$", pids("site"))
	t.check("a request starts it again", "site v1", t.sh(t.ask("site", "/")))
	return nil
}

// usersStep wants no two apps, and not the machine's own users, to share a user ID.
func usersStep(_ context.Context, t *trial) error {
	user := func(app string) string {
		return t.sh(fmt.Sprintf(`for p in $(%s); do awk '/^Uid:/ {print $2}' /proc/$p/status; done | sort -u | tr '\n' ' '`, pids(app)))
	}
	probe, node := user("probe"), user("node")
	t.check("the user of probe is not one of the machine's", `^\d{5,}( \d{5,})*$`, probe)
	t.check("the user of node is not one of the machine's", `^\d{5,}( \d{5,})*$`, node)
	t.report.add("they differ", probe != node, "two users", probe+" and "+node)
	return nil
}
