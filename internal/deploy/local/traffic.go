package local

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	listers "knative.dev/serving/pkg/client/listers/serving/v1"
	"knative.dev/serving/pkg/reconciler/route/traffic"

	"github.com/gitd-io/gitd/internal/app"
)

// resolveTraffic turns spec.traffic into targets with revision names, by Knative's own rules. A revision that is not up yet
// may get traffic: requests wait for it.
func resolveTraffic(svc *servingv1.Service, revisions map[string]*revision) ([]servingv1.TrafficTarget, error) {
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	configurations := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	known := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	labels := map[string]string{serving.ServiceLabelKey: svc.Name, serving.ConfigurationLabelKey: svc.Name}
	configuration := &servingv1.Configuration{ObjectMeta: metav1.ObjectMeta{Name: svc.Name, Namespace: namespace}, Spec: svc.Spec.ConfigurationSpec}
	configuration.Status.SetLatestCreatedRevisionName(svc.Spec.Template.Name)
	configuration.Status.SetLatestReadyRevisionName(svc.Spec.Template.Name)
	if err := configurations.Add(configuration); err != nil {
		return nil, err
	}
	for name, r := range revisions {
		rev := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels}, Spec: r.template.Template.Spec}
		rev.Status.InitializeConditions()
		rev.Status.MarkContainerHealthyTrue()
		rev.Status.MarkResourcesAvailableTrue()
		if err := known.Add(rev); err != nil {
			return nil, err
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
		return nil, app.Errorf(app.CodeInvalidInput, "name revisions that exist in spec.traffic", "the traffic of %s cannot be resolved: %w", svc.Name, err)
	}
	// The configuration groups targets by host; the list of the spec, with the revision names filled in, keeps both percentages and tags.
	out := make([]servingv1.TrafficTarget, 0, len(route.Spec.Traffic))
	for _, target := range route.Spec.Traffic {
		if target.RevisionName == "" {
			target.RevisionName = svc.Spec.Template.Name
		}
		if _, ok := config.Revisions[target.RevisionName]; !ok {
			return nil, fmt.Errorf("no revision %s", target.RevisionName)
		}
		target.ConfigurationName = ""
		out = append(out, target)
	}
	return out, nil
}

func percent(t servingv1.TrafficTarget) int64 {
	if t.Percent == nil {
		return 0
	}
	return *t.Percent
}
