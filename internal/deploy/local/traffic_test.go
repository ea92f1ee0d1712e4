package local

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/ptr"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	listers "knative.dev/serving/pkg/client/listers/serving/v1"
	"knative.dev/serving/pkg/reconciler/route/traffic"
)

// TestTraffic checks that spec.traffic is taken and refused exactly as Knative does: by the validation of the Service, and then by the
// builder that Knative's controller uses.
func TestTraffic(t *testing.T) {
	const image = "apps/a@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for _, c := range []struct {
		name    string
		traffic []servingv1.TrafficTarget
		want    string // revision percent tag, …; "" where it is refused
	}{
		{"nothing", nil, "a-v2 100"},
		{"the latest", targetsOf(" 100"), "a-v2 100"},
		{"a split", targetsOf("a-v1 30", "a-v2 70"), "a-v1 30, a-v2 70"},
		{"the latest and another one", targetsOf("a-v1 30", " 70"), "a-v1 30, a-v2 70"},
		{"one revision twice", targetsOf("a-v1 30", "a-v1 70"), "a-v1 30, a-v1 70"},
		{"tags", targetsOf("a-v1 100 green", "a-v2 0 blue"), "a-v1 100 green, a-v2 0 blue"},
		{"two tags of a revision", targetsOf("a-v1 100 x", "a-v1 0 y"), "a-v1 100 x, a-v1 0 y"},
		{"no share and no tag", targetsOf("a-v1 100", "a-v2 0"), "a-v1 100, a-v2 0"},
		{"no percentage", append(targetsOf("a-v1 100"), servingv1.TrafficTarget{RevisionName: "a-v2", Tag: "x"}), "a-v1 100, a-v2 0 x"},
		{"a tag for the latest", targetsOf("a-v1 100", " 0 x"), "a-v1 100, a-v2 0 x"},
		{"an unknown revision", targetsOf("a-v7 100"), ""},
		{"an unknown revision with a tag alone", targetsOf("a-v1 100", "a-v7 0 x"), ""},
		{"an unknown revision with nothing", targetsOf("a-v1 100", "a-v7 0"), ""},
		{"99 percent", targetsOf("a-v1 99"), ""},
		{"101 percent", targetsOf("a-v1 51", "a-v2 50"), ""},
		{"less than nothing", targetsOf("a-v1 -1", "a-v2 101"), ""},
		{"a tag twice", targetsOf("a-v1 50 x", "a-v2 50 x"), ""},
		{"a tag that is not a label", targetsOf("a-v1 100 A.B"), ""},
		{"a revision that is not a name", targetsOf("a/b/c 100"), ""},
		{"a configuration", []servingv1.TrafficTarget{{ConfigurationName: "a", Percent: ptr.Int64(100)}}, ""},
		{"a name for the latest", []servingv1.TrafficTarget{{RevisionName: "a-v1", LatestRevision: ptr.Bool(true), Percent: ptr.Int64(100)}}, ""},
		{"no name for one that is not the latest", []servingv1.TrafficTarget{{LatestRevision: ptr.Bool(false), Percent: ptr.Int64(100)}}, ""},
	} {
		svc := newService("a", image)
		svc.Spec.Template.Name = "a-v2"
		svc.Spec.Traffic = c.traffic
		got, want := "", ""
		if complete, err := complete(t.Context(), svc); err == nil {
			revisions := map[string]*revision{}
			for _, name := range []string{"a-v1", "a-v2"} {
				revisions[name] = &revision{name: name, template: template{Template: complete.Spec.Template}}
			}
			if targets, err := resolveTraffic(complete, revisions); err == nil {
				got = wordsOf(targets)
			}
			want = wordsOf(knativeTraffic(t, complete, revisions))
		}
		if got != c.want || want != c.want {
			t.Errorf("%s: %q, Knative %q, want %q", c.name, got, want, c.want)
		}
	}
}

// targetsOf makes targets, each "REVISION PERCENT [TAG]".
func targetsOf(list ...string) []servingv1.TrafficTarget {
	var out []servingv1.TrafficTarget
	for _, s := range list {
		name, rest, _ := strings.Cut(s, " ")
		share, tag, _ := strings.Cut(rest, " ")
		var n int64
		if _, err := fmt.Sscan(share, &n); err != nil {
			panic(err)
		}
		out = append(out, servingv1.TrafficTarget{RevisionName: name, Percent: ptr.Int64(n), Tag: tag})
	}
	return out
}

func wordsOf(targets []servingv1.TrafficTarget) string {
	var all []string
	for _, t := range targets {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %d %s", t.RevisionName, percent(t), t.Tag)))
	}
	return strings.Join(all, ", ")
}

// knativeTraffic asks Knative's builder about the traffic of a Service; nil where it refuses.
func knativeTraffic(t *testing.T, svc *servingv1.Service, revisions map[string]*revision) []servingv1.TrafficTarget {
	t.Helper()
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	configurations, known := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers), cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	labels := map[string]string{serving.ServiceLabelKey: svc.Name, serving.ConfigurationLabelKey: svc.Name}
	configuration := &servingv1.Configuration{ObjectMeta: metav1.ObjectMeta{Name: svc.Name, Namespace: namespace}, Spec: svc.Spec.ConfigurationSpec}
	configuration.Status.SetLatestCreatedRevisionName(svc.Spec.Template.Name)
	configuration.Status.SetLatestReadyRevisionName(svc.Spec.Template.Name)
	if err := configurations.Add(configuration); err != nil {
		t.Fatal(err)
	}
	for name, r := range revisions {
		rev := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels}, Spec: r.template.Template.Spec}
		rev.Status.InitializeConditions()
		rev.Status.MarkContainerHealthyTrue()
		rev.Status.MarkResourcesAvailableTrue()
		if err := known.Add(rev); err != nil {
			t.Fatal(err)
		}
	}
	route := &servingv1.Route{ObjectMeta: metav1.ObjectMeta{Name: svc.Name, Namespace: namespace, Labels: labels}, Spec: *svc.Spec.RouteSpec.DeepCopy()}
	for i := range route.Spec.Traffic {
		if route.Spec.Traffic[i].RevisionName == "" {
			route.Spec.Traffic[i].ConfigurationName = svc.Name
		}
	}
	config, err := traffic.BuildTrafficConfiguration(listers.NewConfigurationLister(configurations), listers.NewRevisionLister(known), route)
	if err != nil {
		return nil
	}
	// It groups targets by host and merges; the names that it resolved are what counts here.
	var out []servingv1.TrafficTarget
	for _, target := range route.Spec.Traffic {
		if target.RevisionName == "" {
			target.RevisionName = svc.Spec.Template.Name
		}
		if config.Revisions[target.RevisionName] == nil {
			t.Errorf("Knative resolved no revision %s", target.RevisionName)
		}
		out = append(out, target)
	}
	return out
}
