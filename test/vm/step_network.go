package main

import (
	"context"
	"fmt"
	"time"
)

// metadata are addresses at which clouds tell a machine its credentials.
var metadata = []string{"169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"}

// cloud puts a server beside the machine, on its own network, that answers at all those addresses.
func (t *trial) cloud() error {
	script := `ip netns list | grep -q cloud && exit 0
		set -e
		ip netns add cloud; ip link add cloud0 type veth peer name eth0 netns cloud; ip link set cloud0 up
		ip addr add 192.0.2.1/24 dev cloud0
		ip -n cloud addr add 192.0.2.2/24 dev eth0; ip -n cloud link set eth0 up; ip -n cloud link set lo up
		ip -n cloud route add default via 192.0.2.1
`
	for _, a := range metadata {
		script += fmt.Sprintf("ip -n cloud addr add %s/32 dev lo; ip route add %[1]s via 192.0.2.2\n", a)
	}
	_, err := t.run(script + "systemd-run -q --unit=cloud ip netns exec cloud /media/programs/guest serve :80")
	return err
}

func networkStep(_ context.Context, t *trial) error {
	if err := t.cloud(); err != nil {
		return err
	}
	for _, a := range metadata { // or the next check proves nothing
		t.until("the machine itself reaches "+a, 10*time.Second, "^open", "curl -sS -m 5 http://"+a+"/")
	}
	t.walls("at rest")
	for _, a := range metadata {
		t.check("an app does not reach "+a, "^failed:", t.sh(t.ask("probe", "/dial?to="+a+":80")))
	}
	return nil
}

const own = `$(ip -4 -br addr show scope global | awk '$1 ~ /^e/ {print $3; exit}' | cut -d/ -f1)`

// walls wants an app to reach the network, and not this machine.
func (t *trial) walls(when string) {
	t.egress(when)
	t.isolation(when)
}

func (t *trial) egress(when string) bool {
	return t.until(when+": an app reaches the network", 6*time.Second, "^200 outside", t.ask("probe", "/get?url="+t.outsideURL()))
}

// isolation asks for the machine's sshd, and for gitd's own, at the machine's address.
func (t *trial) isolation(when string) {
	for port, what := range map[string]string{"22": "the machine's sshd", "2222": "gitd's sshd"} {
		t.check(when+": an app does not reach "+what, "^failed:", t.sh("h="+own+"; [ -n \"$h\" ] && "+askAt("probe", "/dial?to=$h:"+port)))
	}
}

// askAt is ask for a path in which the shell replaces variables.
func askAt(app, path string) string {
	return fmt.Sprintf(`curl -sS -m 60 -H 'Host: %s.apps.example.com' "http://127.0.0.1%s"`, app, path)
}
