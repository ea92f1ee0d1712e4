package knative_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative"
	"github.com/gitd-io/gitd/internal/kube"
)

// A release that the cluster does not take fails in seconds, with the cluster's reason, and what serves goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	c := client(t)
	namespace := newNamespace(t, c, "refused")
	_, ref := image(t)
	p := open(t, options(t, c, namespace))
	first := service("app", "v1", ref)
	first.Spec.Template.Annotations["autoscaling.knative.dev/min-scale"] = "1"
	if told, err := roll(t, p, first); err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
	big := service("app", "v2", ref)
	big.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("900Gi")}
	far := options(t, c, namespace)
	far.Pull = "127.0.0.1:1"
	quota := func() {
		apply(t, c, core("resourcequotas"), &corev1.ResourceQuota{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"},
			ObjectMeta: metav1.ObjectMeta{Name: "small", Namespace: namespace}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("1")}}})
	}
	for _, s := range []struct {
		p       *knative.Platform
		svc     *servingv1.Service
		prepare func()
		within  time.Duration
		want    string
	}{
		{p, big, nil, 30 * time.Second, "the app could not be started: no node has capacity for it: 0/1 nodes are available: 1 Insufficient memory"},
		{open(t, far), service("app", "v3", ref), nil, 30 * time.Second, "the image cannot be used: the nodes cannot reach the registry: "},
		{p, service("app", "v4", ref), quota, 30 * time.Second, "the app could not be started: the namespace's quota is used up: small, requested: pods=1, used: pods="},
	} {
		if s.prepare != nil {
			s.prepare()
		}
		began := time.Now()
		told, err := roll(t, s.p, s.svc)
		if app.CodeOf(err) != app.CodeStartFailed || !strings.HasPrefix(err.Error(), s.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q (%s), want %q\n%s", err, app.CodeOf(err), s.want, told)
		}
		t.Logf("refused after %s: %v", time.Since(began).Round(100*time.Millisecond), err)
		if code, body := request(t, "app."+namespace+"."+domain, "/"); code != 200 || body != "v1" {
			t.Errorf("what serves: %d %q", code, body)
		}
	}
	if states, err := p.Describe(t.Context(), "app"); err != nil || len(states) != 1 {
		t.Errorf("left: %+v, %v", states, err)
	}
}

// A Service that gitd did not make is not taken over.
func TestForeignService(t *testing.T) {
	t.Parallel()
	c := client(t)
	namespace := newNamespace(t, c, "foreign")
	_, ref := image(t)
	svc := service("app", "", pullFrom+"/"+ref)
	svc.TypeMeta = metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "Service"}
	svc.Spec.Template.Name = ""
	u, err := kube.Unstructured(svc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resource(services, namespace).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		t.Fatal(err)
	}
	p := open(t, options(t, c, namespace))
	told, err := roll(t, p, service("app", "v1", ref))
	if app.CodeOf(err) != app.CodeExists || err.Error() != "the Service app exists already in the namespace "+namespace+", which gitd did not create" {
		t.Errorf("%v\n%s", err, told)
	}
	if _, err := p.Get(t.Context(), "app"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("it is taken for an app: %v", err)
	}
	if err := p.Delete(t.Context(), "app"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("it was deleted: %v", err)
	}
}

// Each app can have a namespace of its own, which goes with it. Its pods are locked up.
func TestNamespacePerApp(t *testing.T) {
	t.Parallel()
	managed.Lock()
	t.Cleanup(managed.Unlock)
	c := client(t)
	img, ref := image(t)
	o := options(t, c, "")
	o.NamespacePrefix = "own-" + strings.ToLower(rand.Text()[:6]) + "-"
	o.Images = images{img}
	o.PullConfig = func(app string) ([]byte, error) {
		return []byte(`{"auths": {"registry.example.com": {"username": "` + app + `"}}}`), nil
	}
	p := open(t, o)
	namespace := o.NamespacePrefix + "app"
	t.Cleanup(func() {
		_ = c.Resource(namespaces, "").Delete(context.Background(), namespace, metav1.DeleteOptions{})
	})
	if told, err := roll(t, p, service("app", "v1", ref, "COLOUR=red")); err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
	if code, body := request(t, "app."+namespace+"."+domain, "/env?name=COLOUR"); code != 200 || body != "red" {
		t.Errorf("%d %q", code, body)
	}
	if all, err := p.List(t.Context()); err != nil || len(all) != 1 || all[0].Name != "app" {
		t.Errorf("list: %d, %v", len(all), err)
	}
	l, err := c.Resource(core("pods"), namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) == 0 {
		t.Fatalf("no pods: %v", err)
	}
	var pod corev1.Pod
	if err := kube.Into(&l.Items[0], &pod); err != nil {
		t.Fatal(err)
	}
	for _, container := range pod.Spec.Containers {
		s := container.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.RunAsNonRoot == nil || !*s.RunAsNonRoot ||
			s.Capabilities == nil || len(s.Capabilities.Drop) != 1 || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s may too much: %+v", container.Name, s)
		}
		for _, e := range container.Env {
			if e.Name == "COLOUR" {
				t.Errorf("the configuration is in the spec of %s", container.Name)
			}
		}
	}
	s := pod.Spec
	if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken || s.EnableServiceLinks == nil || *s.EnableServiceLinks ||
		len(s.ImagePullSecrets) != 1 {
		t.Errorf("the pod: token %v, links %v, pull secrets %v", s.AutomountServiceAccountToken, s.EnableServiceLinks, s.ImagePullSecrets)
	}
	// Nodes pull there with what reaches this app's images, and the cluster refuses other Pods that ask for too much.
	var pull corev1.Secret
	u, err := c.Resource(core("secrets"), namespace).Get(t.Context(), s.ImagePullSecrets[0].Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := kube.Into(u, &pull); err != nil || !strings.Contains(string(pull.Data[corev1.DockerConfigJsonKey]), `"username": "app"`) {
		t.Errorf("nodes pull with %s, %v", pull.Data, err)
	}
	ns, err := c.Resource(namespaces, "").Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil || ns.GetLabels()["pod-security.kubernetes.io/enforce"] != "baseline" {
		t.Errorf("the namespace: %v, %v", ns, err)
	}
	if err := p.Delete(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	// The name is free again, once the namespace is gone.
	told, err := roll(t, p, service("app", "v1", ref, "COLOUR=blue"))
	if err != nil || !strings.Contains(told, "waiting for the deletion of the namespace "+namespace) {
		t.Errorf("%v\n%s", err, told)
	}
	if err := p.Delete(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
}

type images struct{ img v1.Image }

func (i images) Image(string, string) (v1.Image, error) { return i.img, nil }

// Open says what is wrong with the cluster, or with what gitd may do there.
func TestOpenErrors(t *testing.T) {
	t.Parallel()
	admin := client(t)
	namespace := newNamespace(t, admin, "rights")
	someone := is("mallory")
	fails := func(c *kube.Client, code app.Code, message, next string) {
		t.Helper()
		_, err := knative.Open(t.Context(), options(t, c, namespace))
		m, n := app.Explain(err)
		if app.CodeOf(err) != code || !strings.Contains(m, message) || !strings.Contains(n, next) {
			t.Errorf("%s: %s / %s\nwant %s / %s", app.CodeOf(err), m, n, message, next)
		}
	}
	grant := func(rules ...rbacv1.PolicyRule) {
		apply(t, admin, roles, &rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"},
			ObjectMeta: metav1.ObjectMeta{Name: "gitd", Namespace: namespace}, Rules: rules})
		apply(t, admin, roleBindings, &rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: "gitd", Namespace: namespace}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "gitd"},
			Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "mallory"}}})
	}
	all := func(but string) []rbacv1.PolicyRule {
		verbs := func(resource string, v ...string) []string {
			var out []string
			for _, verb := range v {
				if verb+" "+resource != but {
					out = append(out, verb)
				}
			}
			return out
		}
		every := []string{"get", "list", "watch", "create", "patch", "delete"}
		return []rbacv1.PolicyRule{
			{APIGroups: []string{"serving.knative.dev"}, Resources: []string{"services"}, Verbs: verbs("services", every...)},
			{APIGroups: []string{"serving.knative.dev"}, Resources: []string{"revisions"}, Verbs: verbs("revisions", "get", "list", "watch", "delete")},
			{APIGroups: []string{"serving.knative.dev"}, Resources: []string{"routes"}, Verbs: []string{"list"}},
			{APIGroups: []string{"serving.knative.dev"}, Resources: []string{"domainmappings"}, Verbs: []string{"list", "create", "patch", "delete"}},
			{APIGroups: []string{"autoscaling.internal.knative.dev", "networking.internal.knative.dev"}, Resources: []string{"podautoscalers", "ingresses", "serverlessservices"}, Verbs: []string{"list"}},
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"pods/attach"}, Verbs: []string{"get", "create"}},
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: verbs("secrets", "get", "list", "create", "patch", "delete")},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"list", "create", "patch", "delete"}},
			{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: every},
		}
	}
	fails(clientAs(t, someone), app.CodeUnavailable, "the cluster does not let mallory ", "config/")
	grant(all("delete revisions")...)
	fails(clientAs(t, someone), app.CodeUnavailable, "the cluster does not let mallory delete revisions.serving.knative.dev in the namespace "+namespace+" (RBAC)",
		"grant it: kubectl -n "+namespace+" create role gitd-delete-revisions --verb=delete --resource=revisions.serving.knative.dev")
	grant(all("")...)
	// These rights are enough for everything.
	p := open(t, options(t, clientAs(t, someone), namespace))
	_, ref := image(t)
	if err := deploy.RunProcess(t.Context(), p, service("app", "v1", ref, "STATUS=0"), "job", &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	for _, v := range []string{"v1", "v2"} {
		if told, err := roll(t, p, service("app", v, ref)); err != nil {
			t.Fatalf("%v\n%s", err, told)
		}
	}
	if err := p.SetWorkers(t.Context(), service("app", "v2", ref), []deploy.Worker{{Type: "job", Instances: 1}}); err != nil {
		t.Error(err)
	}
	if err := p.Logs(t.Context(), "app", deploy.LogOptions{}, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	if err := p.Delete(t.Context(), "app"); err != nil {
		t.Error(err)
	}

	fails(clientAs(t, func(a *clientcmdapi.AuthInfo, _ *clientcmdapi.Cluster) { *a = clientcmdapi.AuthInfo{Token: "wrong"} }), app.CodeUnavailable,
		"cannot reach the cluster: the cluster at ", "get a new kubeconfig")
	fails(clientAs(t, func(_ *clientcmdapi.AuthInfo, c *clientcmdapi.Cluster) {
		c.CertificateAuthorityData, c.CertificateAuthority = nil, ""
	}), app.CodeUnavailable,
		"is signed by an authority that the kubeconfig does not name", "certificate-authority-data")
	fails(clientAs(t, func(_ *clientcmdapi.AuthInfo, c *clientcmdapi.Cluster) { c.Server = "https://127.0.0.1:1" }), app.CodeUnavailable,
		"no cluster answers at https://127.0.0.1:1 (from ", "check that the cluster runs")
}
