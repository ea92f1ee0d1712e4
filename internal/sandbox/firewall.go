package sandbox

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/clouds"
)

// firewall is one nftables table. Its rules go by the start of the interfaces' names, so that they need no change when
// containers come and go. It is kept: what another program takes away of it is put back.
type firewall struct {
	table  string
	prefix string // of the Host's interfaces
	log    func(format string, args ...any)

	stop  chan struct{} // ends the watch
	once  sync.Once
	watch sync.WaitGroup

	mu sync.Mutex // mu guards the following

	whole   bool           // the table is as it should be, as far as we know
	bounded bool           // the kernel can count connections
	limit   uint32         // of connections that a container has with the outside at a time
	rules   map[string]int // how many each chain has
	servers []netip.Addr   // name servers of containers among the addresses that are closed to them
	others  othersRules    // what other programs' rules ask of us
}

// openFirewall installs the table, atomically replacing an earlier one, and watches it.
func openFirewall(prefix, table string, log func(string, ...any)) (*firewall, error) {
	w := &firewall{table: table, prefix: prefix, log: log, bounded: true, limit: maxConnections(), others: othersRules{prefix: prefix, log: log}, stop: make(chan struct{})}
	c, err := nftables.New()
	if err != nil {
		return nil, unavailable(err)
	}
	err = w.put(c)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		w.bounded = false
		if err = w.put(c); err == nil {
			log("the kernel cannot count connections (modprobe nft_connlimit): an app can take all places of the connection tracking table")
		}
	}
	if err != nil {
		return nil, unavailable(err)
	}
	w.others.look(c)
	w.keep()
	return w, nil
}

func unavailable(err error) error {
	return app.Errorf(app.CodeUnavailable, "load the kernel's modules: modprobe -a nf_tables nft_masq nft_fib_inet nft_ct", "cannot make firewall rules with nftables: %w", err)
}

// put writes the table in one transaction. The caller holds w.mu, or has not published w yet.
func (w *firewall) put(c *nftables.Conn) error {
	w.write(c)
	err := c.Flush()
	w.whole = err == nil
	return err
}

// ready returns an error where the table is not in place and cannot be put there: then no container with a way out may start.
func (w *firewall) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.whole {
		return nil
	}
	c, err := nftables.New()
	if err == nil {
		err = w.put(c)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// resolve lets containers reach name servers at addresses that are closed to them otherwise, as some clouds have theirs.
func (w *firewall) resolve(servers []netip.Addr) error {
	var among []netip.Addr
	for _, s := range servers {
		if s.Is4() && clouds.IsMetadata(s) {
			among = append(among, s)
		}
	}
	slices.SortFunc(among, netip.Addr.Compare)
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(among, w.servers) {
		return nil
	}
	w.servers = among
	c, err := nftables.New()
	if err == nil {
		err = w.put(c)
	}
	return err
}

// numbering guards the library's counter of sets, which all connections share.
var numbering sync.Mutex

func (w *firewall) write(c *nftables.Conn) {
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: w.table})
	c.DelTable(t)
	t = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: w.table})
	w.rules = map[string]int{}
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) func(...[]expr.Any) {
		ch := c.AddChain(&nftables.Chain{Table: t, Name: name, Type: kind, Hooknum: hook, Priority: priority})
		w.rules[name] = 0
		return func(parts ...[]expr.Any) {
			w.rules[name]++
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: slices.Concat(parts...)})
		}
	}
	fromContainer := interfaceName(expr.MetaKeyIIFNAME, w.prefix)

	// Before any address is rewritten: not to this host, whatever port it publishes; not to neighbours; not to a cloud's metadata.
	first := chain("first", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	first(fromContainer, protocol(unix.NFPROTO_IPV6), drop())
	first(fromContainer, notUnicast(), drop())
	first(fromContainer, destination(addressRange), drop())
	for _, s := range w.servers {
		for _, p := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			first(fromContainer, destination(netip.PrefixFrom(s, 32)), port(p, 53), accept())
		}
	}
	for _, p := range clouds.Metadata() {
		if p.Addr().Is4() {
			first(fromContainer, destination(p), drop())
		}
	}

	input := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	input(fromContainer, drop())

	// No connection to a container may begin outside.
	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	forward(interfaceName(expr.MetaKeyOIFNAME, w.prefix), state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	forward(interfaceName(expr.MetaKeyOIFNAME, w.prefix), drop())
	if w.bounded {
		set := &nftables.Set{Table: t, Name: "connections", KeyType: nftables.TypeIPAddr, Dynamic: true, Size: 1 << 16, ID: 1}
		numbering.Lock()
		err := c.AddSet(set, nil)
		numbering.Unlock()
		if err == nil {
			forward(fromContainer, protocol(unix.NFPROTO_IPV4), state(expr.CtStateBitNEW), moreThan(set, w.limit), drop())
		}
	}

	leave := chain("leave", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	leave(protocol(unix.NFPROTO_IPV4), source(addressRange), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(gitdPrefix)},
		&expr.Masq{},
	})
}

// maxConnections is how many connections a container may have with the outside at a time. The kernel has one table of them for the whole
// machine, and when that is full no process can connect: a container may use 1/64 of it.
func maxConnections() uint32 {
	b, _ := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	all, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return 4096
	}
	return uint32(min(max(all/64, 512), 4096))
}

// intact says whether the table is as it was written.
func (w *firewall) intact(c *nftables.Conn) (bool, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == w.table })
	if i < 0 {
		return false, nil
	}
	for name, n := range w.rules {
		rules, err := c.GetRules(tables[i], &nftables.Chain{Name: name, Table: tables[i]})
		if err != nil || len(rules) != n {
			return false, nil
		}
	}
	return true, nil
}

// remove takes the rules away. The watch has ended.
func (w *firewall) remove() {
	w.others.remove()
	if c, err := nftables.New(); err == nil {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: w.table})
		_ = c.Flush()
	}
}
