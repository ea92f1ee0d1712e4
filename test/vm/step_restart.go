package main

import (
	"context"
	"fmt"
	"time"
)

// under runs a command in the middle of a steady load, and wants no more than so many requests to fail. A request of 5 s is under way as well.
func (t *trial) under(what, command string, lost int) {
	length := 20 * time.Second
	if t.accel == "tcg" {
		length = time.Minute
	}
	out := t.sh(fmt.Sprintf(`/media/programs/guest load http://127.0.0.1/ probe.apps.example.com 5 %v >/tmp/load &
		sleep %.0f; (%s) >/tmp/held 2>&1 & sleep 1
		%s; echo "exit $?"
		wait; cat /tmp/load; echo; cat /tmp/held`, length, length.Seconds()/4, t.ask("probe", "/hold?s=5"), command))
	t.check(what+": the command", `^exit 0`, out)
	t.check(what+": no request is refused", fmt.Sprintf(`\d+ requests, [0-%d] failed`, lost), out)
}

func restartStep(_ context.Context, t *trial) error {
	apps := []string{"probe", "node"}
	before := map[string]string{}
	for _, a := range apps {
		before[a] = t.sh(pids(a))
	}
	same := func(when string) {
		for _, a := range apps {
			// A worker may have children that come and go: what was there first is compared.
			t.check(when+": "+a+" runs in the same processes", "^"+firstOf(before[a])+`( |$)`, t.sh(pids(a)))
		}
	}
	proxy := t.sh(pgrepProxy)
	t.under("restart", "systemctl restart gitd", 0)
	same("restart")
	t.check("restart: the proxy is the same process", "^"+firstOf(proxy)+"$", t.sh(pgrepProxy))
	t.check("restart: a request under way ends well", "held", t.sh("cat /tmp/held"))
	t.under("kill -9", "systemctl kill -s KILL --kill-whom=main gitd", 1) // one may be under way
	t.until("kill -9: it is started again", 30*time.Second, "^active$", "systemctl is-active gitd")
	same("kill -9")

	t.check("stop", "exit 0$", // before it, systemd warns that a socket can start it again
		t.sh("systemctl stop gitd; echo exit $?"))
	t.check("stop: result", "^success$", t.sh("systemctl show -P Result gitd"))
	same("stop")
	t.until("stop: the proxy has ended", 40*time.Second, "^none$", pgrepProxy+" || echo none")
	t.check("start", "^exit 0", t.sh("systemctl start gitd; echo exit $?"))
	t.until("start: answers", 30*time.Second, "^probe v", t.ask("probe", "/"))
	same("start")
	t.walls("after a start")
	return nil
}

// pgrepProxy prints the process of the proxy.
const pgrepProxy = "pgrep -x gitd-proxy"

func firstOf(pids string) string {
	var first string
	_, _ = fmt.Sscan(pids, &first)
	return first
}
