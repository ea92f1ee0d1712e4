package knative

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/clouds"
	"github.com/gitd-io/gitd/internal/event"
)

// checkSinks refuses triggers whose dead letters would go to an address within the cluster or its network: Knative's dispatcher sends them, from a place that may reach
// what the app may not. What the name of another machine is looked up as cannot be checked here: Knative does the look-up.
func (p *Platform) checkSinks(all []event.Trigger) error {
	for i := range all {
		sink, err := event.ParseSink(all[i].Delivery.DeadLetter)
		if all[i].Delivery.DeadLetter == "" || err == nil && (sink.URL == "" || p.outside(sink.URL)) {
			continue
		}
		return app.Errorf(app.CodeInvalidInput, "name an app (\"audit\", \"audit/dead\"), or a machine outside by its full name; see docs/events.md",
			"the dead letters of the trigger %q cannot go to %q: that is within the cluster or its network", all[i].Name, app.Clip(all[i].Delivery.DeadLetter, 100))
	}
	return nil
}

// inside are the ends of names that only a cluster or its network knows.
var inside = []string{"svc", "local", "internal", "localhost", "intranet", "lan", "home", "corp", "default"}

// shared is the range that carriers, and some clusters for their Pods, have beside the private ones.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// outside says whether a URL names a machine outside, as far as its text tells.
func (p *Platform) outside(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		return clouds.Reachable(ip, nil, nil) && !ip.IsPrivate() && !shared.Contains(ip)
	}
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	// A resolver of a cluster looks for a name within it first: "shop.apps" is the Service shop in the namespace apps. The last part of a name outside has letters alone;
	// a number is another way to write an address.
	if len(labels) < 2 || slices.Contains(labels, "svc") || slices.Contains(labels, "") || slices.Contains(inside, last) || last == p.o.Namespace {
		return false
	}
	return strings.HasPrefix(last, "xn--") || strings.Trim(last, "abcdefghijklmnopqrstuvwxyz") == ""
}
