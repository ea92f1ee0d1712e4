package sandbox

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/clouds"
)

// inNamespace runs the test once more, in a network namespace of its own, whose rules it may flush. It says whether this is that run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("GITD_TEST_NAMESPACE") == "" {
		c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		c.Env = append(os.Environ(), "GITD_TEST_NAMESPACE=1")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := c.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return false
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

func nft(t *testing.T, arguments ...string) {
	t.Helper()
	if out, err := exec.Command("nft", arguments...).CombinedOutput(); err != nil {
		t.Fatalf("nft %v: %v: %s", arguments, err, out)
	}
}

// journal keeps what a Host logs.
type journal struct {
	mu   sync.Mutex
	text string
}

func (j *journal) log(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text += fmt.Sprintf(format, args...) + "\n"
}

func (j *journal) has(part string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !strings.Contains(j.text, part) {
		return fmt.Errorf("the log has no %q:\n%s", part, j.text)
	}
	return nil
}

// openIn opens a Host in the test's own namespace.
func openIn(t *testing.T) (*Host, *journal) {
	t.Helper()
	j := &journal{}
	h, err := Open(within(t, time.Minute), Options{Dir: t.TempDir(), Log: j.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h, j
}

// listenHere is a service of the host, on all its addresses.
func listenHere(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go answer(l)
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// The attack: an operator runs `nft flush ruleset`, or starts nftables.service, which does so, and every table of the machine is gone, gitd's
// too. An app waits for that moment, and connects to the host's sshd and to other apps. The routes in its namespace prevent it.
func TestAttack_FlushedFirewallOpensNothing(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	server, here := foreign(t)
	h, _ := openIn(t)
	port := listenHere(t)
	neighbour := start(t, h, Spec{ID: "neighbour", Args: []string{"/probe", "serve", "0.0.0.0:8080", "hi"}, Egress: true})
	eventually(t, func() error { _, err := get(within(t, 5*time.Second), neighbour, 8080); return err })
	h.network.wall.close() // nothing puts the table back
	nft(t, "flush", "ruleset")
	closed := []string{here + ":" + port, neighbour.address.Prev().String() + ":" + port, neighbour.address.String() + ":8080", "10.231.0.1:" + port}
	out, _ := run(t, h, Spec{Args: append([]string{"/probe", "dial", server}, closed...), Egress: true, UID: 1000})
	if strings.Contains(out, " reached ") {
		t.Errorf("with no rules at all:\n%s", out)
	}
	if n := strings.Count(out, "unreachable") + strings.Count(out, "no route"); n != len(closed) {
		t.Errorf("%d of %d are closed by routes:\n%s", n, len(closed), out)
	}
	if err := neighbour.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

// The attack: the ruleset is flushed as above, or a part of gitd's table is deleted, and stays so. gitd puts the table back within a moment,
// logs it in one line, and apps reach the network again.
func TestAttack_FlushedFirewallIsPutBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	server, _ := foreign(t)
	h, j := openIn(t)
	table := h.network.wall.table
	for _, f := range [][]string{{"flush", "ruleset"}, {"delete", "table", "inet", table}, {"flush", "chain", "inet", table, "input"}, {"flush", "table", "inet", table}} {
		j.mu.Lock()
		j.text = ""
		j.mu.Unlock()
		nft(t, f...)
		began := time.Now()
		eventually(t, func() error { return j.has("put the firewall table " + table + " back") })
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v: it took %s", f, took)
		}
		out, err := exec.Command("nft", "list", "chain", "inet", table, "input").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "drop") {
			t.Errorf("%v: %v %s", f, err, out)
		}
		time.Sleep(200 * time.Millisecond)
		if n := strings.Count(j.text, "put the firewall table"); n != 1 {
			t.Errorf("%v: %d lines", f, n)
		}
	}
	if out, _ := run(t, h, Spec{Args: []string{"/probe", "dial", server}, Egress: true}); !strings.Contains(out, " reached ") {
		t.Errorf("no way out afterwards:\n%s", out)
	}
}

// A sysctl of the host that gitd needs is set back by another program's package: it is put right again.
func TestForwardingIsPutBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	_, j := openIn(t)
	const f = "/proc/sys/net/ipv4/ip_forward"
	if err := os.WriteFile(f, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if b, err := os.ReadFile(f); err != nil || strings.TrimSpace(string(b)) != "1" {
			return fmt.Errorf("%s %v", b, err)
		}
		return j.has("set net.ipv4.ip_forward to 1")
	})
}

// The attack: the firewall's table is gone and cannot be put back, because the kernel's module is missing, say. A container that would run
// without a firewall must not start.
func TestAttack_NoStartWithoutFirewall(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	h, _ := openIn(t)
	h.network.wall.close()
	w := h.network.wall
	w.mu.Lock()
	table := w.table
	w.table, w.whole = strings.Repeat("x", 300), false
	w.mu.Unlock()
	for _, egress := range []bool{true, false} {
		_, err := h.Run(within(t, time.Minute), Spec{ID: "open", Layers: []string{probe}, Args: []string{"/probe", "exit", "0"}, Egress: egress})
		if (app.CodeOf(err) == app.CodeUnavailable) != egress {
			t.Errorf("way out %v: %v", egress, err)
		}
	}
	w.mu.Lock()
	w.table = table
	w.mu.Unlock()
	if _, err := h.Run(within(t, time.Minute), Spec{ID: "closed", Layers: []string{probe}, Args: []string{"/probe", "exit", "0"}, Egress: true}); err != nil {
		t.Error(err)
	}
}

// The attack: clouds serve a machine's credentials at addresses of their own, not all of them link-local. An app or a build requests each
// of them. None may be reachable, and no other address next to them may be lost.
func TestAttack_CloudMetadata(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	var there []netip.Prefix
	for _, p := range clouds.Metadata() {
		if p.Addr().Is4() {
			there = append(there, p)
		}
	}
	allowed := netip.MustParsePrefix("100.100.100.201/32")
	server, _ := foreign(t, append(there, allowed)...)
	_, port, _ := net.SplitHostPort(server)
	h, _ := openIn(t)
	args := []string{"/probe", "dial", allowed.Addr().String() + ":" + port}
	for _, p := range there {
		args = append(args, p.Addr().String()+":"+port)
	}
	for _, both := range []bool{true, false} { // walls
		if !both {
			h.network.wall.close()
			nft(t, "flush", "ruleset")
			nft(t, "add table ip test; add chain ip test out { type nat hook postrouting priority srcnat; }; add rule ip test out masquerade")
		}
		out, _ := run(t, h, Spec{Args: args, Egress: true, UID: 1000})
		if strings.Count(out, " reached ") != 1 || !strings.Contains(out, args[2]+" reached ") {
			t.Errorf("wanted %s alone (both walls: %v):\n%s", args[2], both, out)
		}
	}
}

// Google's and Azure's name servers are at the address of the metadata: names go through, all else does not.
func TestNameServerAmongMetadata(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	azure := netip.MustParsePrefix("168.63.129.16/32")
	foreign(t, azure)
	h, _ := openIn(t)
	wall := h.network.wall
	if err := wall.resolve([]netip.Addr{azure.Addr()}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nft", "list", "chain", "inet", wall.table, "first").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	names, rest := strings.Index(string(out), "udp dport 53 accept"), strings.Index(string(out), "0xa83f8110 drop")
	if names < 0 || rest < names || !strings.Contains(string(out), "tcp dport 53 accept") {
		t.Errorf("%s", out)
	}
}

// The attack: the kernel has one table of connections for the whole machine. An app opens as many as it can and keeps them. When the table
// is full, no other app can connect to anything, and the host's own sshd does not answer. So each app's share is limited.
func TestAttack_ConnectionTableOfTheHost(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	server, _ := foreign(t)
	h, _ := openIn(t)
	w := h.network.wall
	w.mu.Lock()
	w.limit = 30
	w.mu.Unlock()
	nft(t, "flush", "ruleset") // it is put back with the new limit
	eventually(t, func() error {
		out, err := exec.Command("nft", "list", "chain", "inet", w.table, "forward").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "ct count over 30") {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	for range 3 { // an app that begins again has its own share, not what the one before left over at its address
		out, _ := run(t, h, Spec{Args: []string{"/probe", "hold", server, "60"}, Egress: true, UID: 1000})
		if out != "held 30\n" && out != "held 31\n" {
			t.Errorf("%s", out)
		}
	}
}

// firewalld, as Red Hat's distributions have it, accepts by its policy what is forwarded and refuses it by its last rule.
func TestFirewalldIsAsked(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	askAgain = 0
	rules := func() {
		nft(t, "table inet firewalld { chain zones { }; chain filter_FORWARD { type filter hook forward priority 10; policy accept; ct state established accept; log; reject with icmpx admin-prohibited; }; }")
	}
	rules()
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Run("without its tool", func(t *testing.T) {
		h, j := openIn(t)
		if err := j.has("firewall-cmd --permanent --zone=trusted --add-interface=gd" + h.id + "+ && firewall-cmd --reload"); err != nil {
			t.Error(err)
		}
	})
	calls := filepath.Join(bin, "calls")
	script := "#!/bin/sh\necho \"$@\" >> " + calls + `
case "$*" in *--query*) exit 1; esac
nft add rule inet firewalld zones iifname "$(echo ${2#--add-interface=} | tr + '*')" accept
`
	if err := os.WriteFile(filepath.Join(bin, "firewall-cmd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	h, j := openIn(t)
	add := "--zone=trusted --add-interface=gd" + h.id + "+\n"
	asked := func() int { b, _ := os.ReadFile(calls); return strings.Count(string(b), add) }
	if asked() != 1 {
		t.Errorf("asked %d times", asked())
	}
	if err := j.has("firewalld's zone trusted"); err != nil {
		t.Error(err)
	}
	nft(t, "add table inet unrelated") // a change outside of it
	time.Sleep(1500 * time.Millisecond)
	if asked() != 1 {
		t.Errorf("asked %d times", asked())
	}
	nft(t, "delete table inet firewalld") // it reads its configuration again
	rules()
	eventually(t, func() error {
		if asked() != 2 {
			return fmt.Errorf("asked %d times", asked())
		}
		return nil
	})
}

func TestForeignRefusals(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for rules, want := range map[string]bool{
		"policy drop;":                             true,
		"policy accept;":                           false,
		"counter reject;":                          true,
		"log; drop;":                               true,
		"accept; tcp dport 22 drop;":               false,
		"iifname \"x\" accept; counter log drop;":  true,
		"ct state invalid drop; iifname x accept;": false,
	} {
		nft(t, "table inet stranger { chain forward { type filter hook forward priority 0; "+rules+" }; }")
		_, j := openIn(t)
		if got := j.has("containers may have no network") == nil; got != want {
			t.Errorf("%s: warned %v", rules, got)
		}
		nft(t, "delete", "table", "inet", "stranger")
	}
	for rules, want := range map[string]bool{
		"-P FORWARD DROP\n": true, "-P FORWARD ACCEPT\n": false, "-P FORWARD ACCEPT\n-A FORWARD -i a -j ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n": true,
		"-P FORWARD ACCEPT\n-A FORWARD -j DROP\n-A OTHER -j ACCEPT\n": true, "-P FORWARD ACCEPT\n-A FORWARD -i a -j DROP\n": false,
	} {
		if got := legacyRefuses(rules); got != want {
			t.Errorf("%q: %v", rules, got)
		}
	}
}
