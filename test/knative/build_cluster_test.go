package knative_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster"
)

// TestBuildVolume: the cache of an app is a volume.
func TestBuildVolume(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, func(o *cluster.Options) { o.StorageClass = "standard" })
	s := script("echo found: $(ls $BP_CACHE_MOUNT)", "echo beside: $(ls /gitd-cache)", "echo saved > $BP_CACHE_MOUNT/before")
	_, log := b.mustBuild(s)
	if strings.Contains(log, "found: before") {
		t.Error("a first build finds a cache")
	}
	b.noPods()
	_, log = b.mustBuild(s)
	if err := lacks(log, "before"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log, "beside: build\n") {
		t.Errorf("the build sees the lifecycle's own part of the volume:\n%s", log)
	}
	b.noPods()
	_, log, err := b.build(context.Background(), s, func(r *build.Request) { r.ClearCache = true })
	if err != nil || strings.Contains(log, "found: before") {
		t.Errorf("%v: the cache was not cleared:\n%s", err, log)
	}
	b.noPods()
	b.mustBuild(goApp("one"))
	b.noPods()
	b.mustBuild(goApp("two"))
	b.noPods()
	if err := b.engine.PurgeCache(context.Background(), b.app); err != nil {
		t.Fatal(err)
	}
	claims := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	eventually(t, time.Minute, func() error {
		left, err := b.client.Resource(claims, b.options.Namespace).List(context.Background(), metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = errors.New("the volume is left")
		}
		return err
	})
}

// TestBuildExamples_Long builds apps with real dependencies at once. The scripts push_*.txtar do so one by one.
func TestBuildExamples_Long(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	var all sync.WaitGroup
	for _, language := range []string{"node", "python", "go", "static"} {
		all.Go(func() {
			l := &apptest.Buffer{}
			began := time.Now()
			r, err := b.engine.Build(context.Background(), build.Request{App: b.app + "-" + language, Version: 1, Source: folder("../../examples/" + language), Log: app.NewLog(l)})
			if err != nil {
				t.Errorf("%s: %v\n%s", language, err, l.String())
				return
			}
			t.Logf("%s in %.1f s: %+v\n%s", language, time.Since(began).Seconds(), r.Times, l.String())
		})
	}
	all.Wait()
	b.noPods()
}

// TestBuildNamedRegistry: a registry that speaks plain HTTP under a name, as one in the cluster does.
func TestBuildNamedRegistry(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, nil)
	ctx := context.Background()
	host, port, err := net.SplitHostPort(b.options.Pull)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	p, name, ready := int32(number), "registry", true
	_, _, err = b.client.Apply(ctx, schema.GroupVersionResource{Version: "v1", Resource: "services"}, &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.options.Namespace},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: p, Protocol: corev1.ProtocolTCP}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	portName, protocol := "http", corev1.ProtocolTCP
	_, _, err = b.client.Apply(ctx, schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, &discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: b.options.Namespace, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{host}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &p, Protocol: &protocol}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.options.Push = fmt.Sprintf("%s.%s:%d", name, b.options.Namespace, p)
	b.restart()
	b.mustBuild(goApp("one"))
	b.noPods()
	tags, err := b.images.Tags(b.app + "/cache")
	if err != nil || tags["latest"] == "" {
		t.Errorf("no cache was written: %v, %v", tags, err)
	}
	second, _ := b.mustBuild(goApp("two"))
	if second.LayersReused == 0 {
		t.Errorf("%+v", second)
	}
	if _, _, err := b.build(ctx, goApp("three"), func(r *build.Request) { r.ClearCache = true }); err != nil {
		t.Error(err)
	}
	b.noPods()
}

// TestBuildRights: the rights that the engine needs are enough, and each one that is missing is named.
func TestBuildRights(t *testing.T) {
	t.Parallel()
	rules := []struct{ resource, verbs string }{
		{"pods", "list"}, {"pods", "create"}, {"pods", "get"}, {"pods", "watch"}, {"pods", "delete"}, {"pods/log", "get"}, {"pods/attach", "create get"}, // by WebSocket, or else by SPDY
	}
	try := func(t *testing.T, missing int) error {
		b := newBuilds(t, nil)
		user := "builder-" + b.app
		role := &rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"}, ObjectMeta: metav1.ObjectMeta{Name: "builds", Namespace: b.options.Namespace}}
		for i, r := range rules {
			if i != missing {
				role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{r.resource}, Verbs: strings.Fields(r.verbs)})
			}
		}
		binding := &rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: "builds", Namespace: b.options.Namespace},
			RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "builds"}, Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: user}}}
		group := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
		if _, _, err := b.client.Apply(context.Background(), group.WithResource("roles"), role); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.client.Apply(context.Background(), group.WithResource("rolebindings"), binding); err != nil {
			t.Fatal(err)
		}
		b.options.Client = clientAs(t, is(user))
		if missing != 0 { // a Role takes effect a moment after it is there
			eventually(t, time.Minute, func() error {
				_, err := b.options.Client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}, b.options.Namespace).List(context.Background(), metav1.ListOptions{})
				return err
			})
		}
		e, err := cluster.New(context.Background(), b.options)
		if err != nil {
			return err
		}
		defer e.Close()
		b.engine = e
		_, log, err := b.build(context.Background(), goApp("x"), func(r *build.Request) { r.Limits.Time = 2 * time.Minute })
		if err != nil {
			t.Log(log)
		}
		return err
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		if err := try(t, -1); err != nil {
			t.Error(err)
		}
	})
	for _, i := range []int{0, 1, 2, 5, 6} {
		t.Run("no "+rules[i].verbs+" "+rules[i].resource, func(t *testing.T) {
			t.Parallel()
			apptest.WantError(t, try(t, i), app.CodeUnavailable, strings.Fields(rules[i].verbs)[0]+" "+rules[i].resource)
		})
	}
}
