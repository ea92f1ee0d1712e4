package e2e

import (
	"strings"

	"github.com/gitd-io/gitd/internal/dns/dnstest"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdDNS is a resolver at $DNS: dns set NAME RECORD…, with records such as "A 192.0.2.1"; dns delegate NAME ADDRESS; dns break; dns repair.
func cmdDNS(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.dns == nil {
		r, err := dnstest.Start()
		ts.Check(err)
		ts.Defer(r.Close)
		w.dns = r
		ts.Setenv("DNS", r.Address)
	}
	switch {
	case len(args) > 1 && args[0] == "set":
		return output{}, w.dns.Set(args[1], args[2:]...)
	case len(args) == 3 && args[0] == "delegate":
		w.dns.Delegate(args[1], args[2])
	case len(args) == 1 && (args[0] == "break" || args[0] == "repair"):
		w.dns.Break(args[0] == "break")
	default:
		ts.Fatalf("dns: not %s", strings.Join(args, " "))
	}
	return output{}, nil
}
