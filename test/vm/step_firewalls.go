package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// tables says whether gitd's firewall table is there.
const tables = "nft list tables | grep -c gitd"

func flushStep(_ context.Context, t *trial) error {
	for name, command := range map[string]string{
		"nft flush ruleset":           "nft flush ruleset",
		"restart of nftables.service": "systemctl restart nftables", // Debian's /etc/nftables.conf begins with a flush
	} {
		since := t.sh("sleep 1; date '+%F %T'")
		main := t.sh("systemctl show -P MainPID gitd")
		t.check(name, "^exit 0", t.sh(command+"; echo exit $?"))
		t.until(name+": gitd's table is back", 2*time.Second, "^[1-9]", tables)
		t.walls(name)
		t.check(name+": gitd was not restarted", "^"+main+"$", t.sh("systemctl show -P MainPID gitd"))
		t.until(name+": the log says so", 5*time.Second, "(?i)firewall|nftables", journal(since))
	}
	return nil
}

// apt installs packages that the image has in apt's cache.
func (t *trial) apt(packages string) error {
	out, err := t.within(t.slow(5*time.Minute), "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-download "+packages+" 2>&1")
	if err != nil {
		return fmt.Errorf("apt-get install %s: %w\n%s", packages, err, out)
	}
	return nil
}

// beside wants the walls to stand with another firewall, before and after a restart of gitd, and clients to reach gitd.
func (t *trial) beside(what string) {
	t.walls(what)
	t.check(what+": gitd restarts", "^exit 0", t.sh("systemctl restart gitd; echo exit $?"))
	t.until(what+": gitd answers", 30*time.Second, "^probe v", t.ask("probe", "/"))
	t.walls(what + ", after a restart of gitd")
}

// ufwStep: ufw drops what is forwarded, unless it is told otherwise. gitd leaves its rules alone, and says what to tell it.
func ufwStep(_ context.Context, t *trial) error {
	if err := t.apt("ufw"); err != nil {
		return err
	}
	since := t.sh("date '+%F %T'")
	t.check("ufw enable", "active", t.sh("ufw allow 22,80,2222/tcp && ufw --force enable"))
	t.isolation("ufw")
	const said = "ufw route allow in on [a-z0-9+]+"
	if !t.until("the log says what to tell ufw", 5*time.Second, said, journal(since)) {
		return nil
	}
	t.check("told so, ufw says yes", "(?i)added", t.sh(regexp.MustCompile(said).FindString(t.sh(journal(since)))))
	t.beside("ufw")
	t.check("ufw disable", "(?i)stopped", t.sh("ufw --force disable"))
	t.walls("ufw disabled")
	return nil
}

func firewalldStep(_ context.Context, t *trial) error {
	if err := t.apt("firewalld"); err != nil {
		return err
	}
	t.check("firewalld runs", "running", t.sh("firewall-offline-cmd -q --add-port=80/tcp --add-port=2222/tcp; systemctl restart firewalld && firewall-cmd --state"))
	t.beside("firewalld")
	t.check("firewall-cmd --reload", "success", t.sh("firewall-cmd --reload"))
	t.walls("firewalld reloaded")
	t.check("firewalld stops", "^exit 0", t.sh("systemctl disable -q --now firewalld; echo exit $?"))
	t.walls("firewalld stopped")
	return nil
}

func dockerStep(_ context.Context, t *trial) error {
	if err := t.apt(strings.Join(docker(t.suite), " ")); err != nil {
		return err
	}
	t.until("Docker runs", time.Minute, `^\d`, "docker version --format '{{.Server.Version}}'")
	t.check("its rules are there", "DOCKER-USER", t.sh("iptables -S FORWARD"))
	t.beside("Docker")
	t.check("Docker restarts", "^exit 0", t.sh("systemctl restart docker; echo exit $?"))
	t.walls("Docker restarted")
	t.check("a container of Docker's reaches the network", "^outside", t.sh("tar -C /media/programs -c guest | docker import - guest >/dev/null; docker run --rm guest /guest get "+t.outsideURL()))
	t.check("it serves", "^[0-9a-f]{64}", t.sh("docker run -d --name serve guest /guest serve :80"))
	t.until("the machine reaches it", 10*time.Second, "^open", "curl -sS -m 5 http://$(docker inspect -f '{{.NetworkSettings.IPAddress}}' serve)/")
	t.check("an app does not", "^failed:", t.sh("h=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' serve); [ -n \"$h\" ] && "+askAt("probe", "/dial?to=$h:80")))
	t.check("cleaned up", "serve", t.sh("docker rm -f serve"))
	return nil
}
