package knative

import (
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Dead letters do not go where an app may not reach, by Knative's hand.
func TestAttack_Sinks(t *testing.T) {
	p := Open(Options{Namespace: "apps", NamespaceOf: func(string) string { return "apps" }})
	for sink, allowed := range map[string]bool{
		"": true, "audit": true, "audit/dead": true, "https://example.com/dead": true, "http://example.com.:8080/": true, "https://sink.example.xn--p1ai/": true, "http://93.184.215.14/": true,
		"http://[2606:2800:21f:cb07::1]/":         true,
		"http://169.254.169.254/latest/meta-data": false, "http://[::ffff:169.254.169.254]/": false, "http://[fd00:ec2::254]/": false, "http://[fe80::1%25eth0]/": false, "http://127.0.0.1/": false,
		"http://10.96.0.1/": false, "http://192.168.1.1/": false, "http://172.16.0.1/": false, "http://100.64.0.1/": false, "http://[fd12::1]/": false, "http://0.0.0.0/": false,
		"http://2130706433/": false, "http://127.1/": false, "http://0x7f.0.0.1/": false, "http://0177.0.0.1/": false, "http://1.0x1/": false,
		"http://localhost/": false, "http://shop/": false, "http://kubernetes.default/": false, "http://kubernetes.default.svc/": false, "http://KUBERNETES.default.SVC./": false, "http://shop.apps/": false,
		"http://other.ns.svc.cluster.local/": false, "http://other.ns.svc.example.com/": false, "http://metadata.google.internal/": false, "http://printer.local/": false, "http://x.kube-system/": false, "http://a..com/": false,
	} {
		one := event.Trigger{Name: "orders", Delivery: event.Delivery{DeadLetter: sink}}
		err := p.checkSinks([]event.Trigger{one})
		if allowed != (err == nil) || err != nil && app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("%s: %v", sink, err)
		}
		one.Broker = "default"
		o, err := p.trigger(event.Owner{App: "shop", ID: 7}, &one, "token", "svc.cluster.local")
		if err != nil {
			t.Errorf("%s: %v", sink, err)
			continue
		}
		to := o.Object["spec"].(map[string]any)["delivery"].(map[string]any)["deadLetterSink"].(map[string]any)["uri"]
		if !allowed && to != p.keeperURL("token", "svc.cluster.local")+"/dead/default/shop/7/orders" {
			t.Errorf("%s: Knative sends to %s", sink, to)
		}
	}
}
