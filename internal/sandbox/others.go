package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/gitd-io/gitd/internal/app"
)

// othersRules deals with other programs' rules on what is forwarded. Our own acceptance cannot overrule their refusal: where they have a
// place for exceptions, such as Docker's chain and firewalld's zones, ours go there; else the operator is told.
type othersRules struct {
	prefix string // of the Host's interfaces
	log    func(format string, args ...any)

	iptables [][]string // commands that take our rules out of Docker's chain
	asked    time.Time  // when we last told firewalld of our interfaces
	warned   string     // the last warning
}

// look finds another program's rule that drops what is forwarded, and makes our exceptions.
func (o *othersRules) look(c *nftables.Conn) {
	docker, firewalld, drops := false, false, ""
	chains, _ := c.ListChains()
	for _, ch := range chains {
		if ch.Name == "DOCKER-USER" {
			docker = true
		}
		if refuses(c, ch) {
			drops = "nftables chain " + ch.Name + " of table " + ch.Table.Name
			firewalld = firewalld || ch.Table.Name == firewalldTable
		}
	}
	tool := "iptables"
	if b, _ := os.ReadFile("/proc/net/ip_tables_names"); strings.Contains("\n"+string(b), "\nfilter\n") {
		// The older kind of rules, which nftables does not show. Only asked where it is in use: asking would load it.
		if t, err := exec.LookPath("iptables-legacy"); err == nil {
			out, _ := exec.Command(t, "-w", "-S").CombinedOutput()
			if strings.Contains(string(out), "-N DOCKER-USER") {
				docker, tool = true, t
			}
			if legacyRefuses(string(out)) {
				drops = "iptables chain FORWARD"
			}
		}
	}
	warning := ""
	switch {
	case docker:
		if err := o.docker(tool); err != nil {
			warning = fmt.Sprintf("containers may have no network: Docker is installed and its chain DOCKER-USER cannot be changed: %v", err)
		}
	case firewalld:
		warning = o.warned
		if !o.known(c, chains) && time.Since(o.asked) > askAgain {
			o.asked = time.Now()
			warning = o.trust()
		}
	case drops != "":
		warning = fmt.Sprintf("containers may have no network: %[1]s drops what is forwarded; allow packets from the interfaces %[2]s*, where ufw does it with: ufw route allow in on %[2]s+", drops, o.prefix)
	}
	if warning != "" && warning != o.warned {
		o.log("%s", warning)
	}
	o.warned = warning
}

// refuses says whether a chain of another program refuses whatever is forwarded: by its policy or, as firewalld's does, by its last rule.
func refuses(c *nftables.Conn, ch *nftables.Chain) bool {
	if ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward || ch.Type != nftables.ChainTypeFilter ||
		ch.Table.Family == nftables.TableFamilyBridge || strings.HasPrefix(ch.Table.Name, "gitd_") {
		return false
	}
	if ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
		return true
	}
	rules, err := c.GetRules(ch.Table, ch)
	if err != nil || len(rules) == 0 {
		return false
	}
	found := false
	for _, e := range rules[len(rules)-1].Exprs {
		switch e := e.(type) {
		case *expr.Counter, *expr.Log:
		case *expr.Reject:
			found = true
		case *expr.Target:
			found = e.Name == "REJECT"
		case *expr.Verdict:
			found = e.Kind == expr.VerdictDrop
		default:
			return false // it asks for something first
		}
	}
	return found
}

// legacyRefuses reads the rules as `iptables-legacy -S` prints them.
func legacyRefuses(rules string) bool {
	last := ""
	for line := range strings.Lines(rules) {
		line = strings.TrimSpace(line)
		if line == "-P FORWARD DROP" {
			return true
		}
		if strings.HasPrefix(line, "-A FORWARD ") {
			last = line
		}
	}
	return last == "-A FORWARD -j DROP" || strings.HasPrefix(last, "-A FORWARD -j REJECT")
}

// docker lets our containers' packets pass Docker's rules, but not into Docker's own networks.
func (o *othersRules) docker(tool string) error {
	o.iptables = nil
	rules := [][]string{
		{"DOCKER-USER", "-i", o.prefix + "+", "-j", "ACCEPT"},
		{"DOCKER-USER", "-i", o.prefix + "+", "-o", "docker+", "-j", "DROP"},
		{"DOCKER-USER", "-i", o.prefix + "+", "-o", "br-+", "-j", "DROP"},
		{"DOCKER-USER", "-o", o.prefix + "+", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
	}
	for _, r := range rules { // each goes before the last
		if exec.Command(tool, append([]string{"-w", "-C"}, r...)...).Run() != nil {
			if out, err := exec.Command(tool, append([]string{"-w", "-I"}, r...)...).CombinedOutput(); err != nil {
				return app.Wrap(fmt.Errorf("%s: %w", strings.TrimSpace(string(out)), err), app.CodeUnavailable,
					"look at Docker's rules: "+tool+" -S DOCKER-USER", "cannot let the apps' packets pass Docker's firewall rules (%s)", tool)
			}
		}
		o.iptables = append(o.iptables, append([]string{tool, "-w", "-D"}, r...))
	}
	return nil
}

const firewalldTable = "firewalld"

// askAgain is how long firewalld is left alone: its tool is slow to start. A test has no time.
var askAgain = 10 * time.Second

// known says whether firewalld has a rule for our interfaces.
func (o *othersRules) known(c *nftables.Conn, chains []*nftables.Chain) bool {
	for _, ch := range chains {
		if ch.Table.Name != firewalldTable {
			continue
		}
		rules, _ := c.GetRules(ch.Table, ch)
		for _, r := range rules {
			for _, e := range r.Exprs {
				if m, ok := e.(*expr.Cmp); ok && string(m.Data) == o.prefix {
					return true
				}
			}
		}
	}
	return false
}

// trust adds our interfaces to firewalld's zone that accepts their packets; our own table still keeps them from this host. It
// changes what is running only: firewalld forgets it when it reads its configuration again, and we see that. It returns a warning.
func (o *othersRules) trust() string {
	arguments := []string{"--zone=trusted", "--add-interface=" + o.prefix + "+"}
	if exec.Command("firewall-cmd", "--zone=trusted", "--query-interface="+o.prefix+"+").Run() == nil {
		return ""
	}
	if out, err := exec.Command("firewall-cmd", arguments...).CombinedOutput(); err != nil {
		return fmt.Sprintf("containers may have no network: firewalld refuses what is forwarded, and cannot be asked to let it pass (%s); run: firewall-cmd --permanent %s && firewall-cmd --reload",
			strings.TrimSpace(strings.Join([]string{strings.TrimSpace(string(out)), err.Error()}, " ")), strings.Join(arguments, " "))
	}
	o.log("put the interfaces %s* of containers into firewalld's zone trusted, so that what they send is forwarded; they are kept from this host by gitd's own rules", o.prefix)
	return ""
}

// remove takes our exceptions back.
func (o *othersRules) remove() {
	for _, r := range o.iptables {
		_ = exec.Command(r[0], r[1:]...).Run()
	}
	if !o.asked.IsZero() {
		_ = exec.Command("firewall-cmd", "--zone=trusted", "--remove-interface="+o.prefix+"+").Run()
	}
}
