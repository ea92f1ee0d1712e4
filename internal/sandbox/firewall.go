package sandbox

import (
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// firewall is one nftables table. Its rules go by the start of the interfaces' names, so that they need no change when
// containers come and go.
type firewall struct {
	table    string
	prefix   string // of the Host's interfaces
	log      func(format string, args ...any)
	iptables [][]string // rules that were added to Docker's chain
}

// openFirewall puts the table into place, replacing an earlier one at one stroke.
func openFirewall(prefix, table string, log func(string, ...any)) (*firewall, error) {
	w := &firewall{table: table, prefix: prefix, log: log}
	c, err := nftables.New()
	if err != nil {
		return nil, unavailable(err)
	}
	w.write(c)
	if err := c.Flush(); err != nil {
		return nil, unavailable(err)
	}
	w.foreign(c)
	return w, nil
}

func unavailable(err error) error {
	return app.Errorf(app.Unavailable, "load the kernel's modules: modprobe -a nf_tables nft_masq nft_fib_inet nft_ct", "cannot make firewall rules with nftables: %w", err)
}

func (w *firewall) write(c *nftables.Conn) {
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: w.table})
	c.DelTable(t)
	t = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: w.table})
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) func(...[]expr.Any) {
		ch := c.AddChain(&nftables.Chain{Table: t, Name: name, Type: kind, Hooknum: hook, Priority: priority})
		return func(parts ...[]expr.Any) {
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: slices.Concat(parts...)})
		}
	}
	drop := []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}

	// Before any address is rewritten: not to this host, whatever port it publishes; not to neighbours; not to a cloud's metadata.
	first := chain("first", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	first(interfaceName(expr.MetaKeyIIFNAME, w.prefix), protocol(unix.NFPROTO_IPV6), drop)
	first(interfaceName(expr.MetaKeyIIFNAME, w.prefix), notUnicast(), drop)
	first(interfaceName(expr.MetaKeyIIFNAME, w.prefix), network16(16, 10, 231), drop)
	first(interfaceName(expr.MetaKeyIIFNAME, w.prefix), network16(16, 169, 254), drop)

	input := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	input(interfaceName(expr.MetaKeyIIFNAME, w.prefix), drop)

	// Nobody begins a connection to a container from outside.
	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	forward(interfaceName(expr.MetaKeyOIFNAME, w.prefix), answers(), accept)
	forward(interfaceName(expr.MetaKeyOIFNAME, w.prefix), drop)

	leave := chain("leave", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	leave(protocol(unix.NFPROTO_IPV4), network16(12, 10, 231), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(gitdPrefix)},
		&expr.Masq{},
	})
}

// interfaceName matches the start of an interface's name.
func interfaceName(key expr.MetaKey, prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(prefix)}}
}

func protocol(p byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}}}
}

// notUnicast matches a destination that is this host's own, or broadcast, or multicast.
func notUnicast() []expr.Any {
	return []expr.Any{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST)}}
}

// network16 matches the first two bytes of an IPv4 address at an offset of the header: 12 is the source, 16 the destination.
func network16(offset uint32, a, b byte) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{a, b}}}
}

// answers matches packets of connections that the other side began.
func answers() []expr.Any {
	return []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}}
}

// foreign looks for another program's rule that drops what is forwarded. Our own acceptance cannot overrule it; where Docker has
// its chain for such rules, ours go there.
func (w *firewall) foreign(c *nftables.Conn) {
	docker, drops := false, ""
	chains, _ := c.ListChains()
	for _, ch := range chains {
		if ch.Name == "DOCKER-USER" {
			docker = true
		}
		if ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookForward && ch.Type == nftables.ChainTypeFilter && ch.Policy != nil &&
			*ch.Policy == nftables.ChainPolicyDrop && ch.Table.Family != nftables.TableFamilyBridge {
			drops = "nftables chain " + ch.Name + " of table " + ch.Table.Name
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
			if strings.Contains(string(out), "-P FORWARD DROP") {
				drops = "iptables chain FORWARD"
			}
		}
	}
	if docker {
		if err := w.docker(tool); err != nil {
			w.log("containers may have no network: Docker is installed and its chain DOCKER-USER cannot be changed: %v", err)
		}
		return
	}
	if drops != "" {
		w.log("containers may have no network: %s drops what is forwarded; allow packets from and to the interfaces %s*", drops, w.prefix)
	}
}

// docker lets our containers' packets pass Docker's rules, but not into Docker's own networks.
func (w *firewall) docker(tool string) error {
	rules := [][]string{
		{"DOCKER-USER", "-i", w.prefix + "+", "-j", "ACCEPT"},
		{"DOCKER-USER", "-i", w.prefix + "+", "-o", "docker+", "-j", "DROP"},
		{"DOCKER-USER", "-i", w.prefix + "+", "-o", "br-+", "-j", "DROP"},
		{"DOCKER-USER", "-o", w.prefix + "+", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
	}
	for _, r := range rules { // each goes before the last
		if exec.Command(tool, append([]string{"-w", "-C"}, r...)...).Run() != nil {
			if out, err := exec.Command(tool, append([]string{"-w", "-I"}, r...)...).CombinedOutput(); err != nil {
				return app.Errorf(app.Unavailable, "", "%s: %w", strings.TrimSpace(string(out)), err)
			}
		}
		w.iptables = append(w.iptables, append([]string{tool, "-w", "-D"}, r...))
	}
	return nil
}

// remove takes the rules away.
func (w *firewall) remove() {
	for _, r := range w.iptables {
		_ = exec.Command(r[0], r[1:]...).Run()
	}
	if c, err := nftables.New(); err == nil {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: w.table})
		_ = c.Flush()
	}
}
