package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
)

// TestExplain checks the words for what an API server answers, or does not.
func TestExplain(t *testing.T) {
	who := identity{address: "https://10.0.0.1:6443", source: "/home/me/config", user: "me"}
	old := who
	old.expired = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	lost := func(err error) error {
		return &url.Error{Op: "Get", URL: "https://10.0.0.1:6443/version", Err: &unreachable{who, err}}
	}
	ksvc := schema.GroupResource{Group: "serving.knative.dev", Resource: "services"}
	forbidden := func(message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: message}}
	}
	ending := forbidden(`secrets "x" is forbidden: unable to create new content in namespace app-hello because it is being terminated`)
	for _, c := range []struct {
		err           error
		code          app.Code
		message, next string
	}{
		{lost(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), app.CodeUnavailable,
			"no cluster answers at https://10.0.0.1:6443 (from /home/me/config): connection refused", "check that the cluster runs"},
		{lost(x509.UnknownAuthorityError{}), app.CodeUnavailable, "is signed by an authority that the kubeconfig does not name", "certificate-authority-data"},
		{lost(&net.DNSError{Err: "no such host", Name: "k", IsNotFound: true}), app.CodeUnavailable, "does not resolve: no such host", "server address"},
		{lost(errors.New("remote error: tls: expired certificate")), app.CodeUnavailable, "does not accept the credentials in /home/me/config", "new kubeconfig"},
		{&url.Error{Op: "Get", Err: &refused{who}}, app.CodeUnavailable, "the cluster at https://10.0.0.1:6443 does not accept the credentials in /home/me/config", "new kubeconfig"},
		{&url.Error{Op: "Get", Err: &refused{old}}, app.CodeUnavailable, "the client certificate in /home/me/config expired on 2025-03-01 12:00 UTC", "new kubeconfig"},
		{forbidden(`secrets is forbidden: User "system:serviceaccount:gitd:gitd" cannot create resource "secrets" in API group "" in the namespace "apps"`), app.CodeUnavailable,
			"the cluster does not let system:serviceaccount:gitd:gitd create secrets in the namespace apps (RBAC)",
			"kubectl -n apps create role gitd-create-secrets --verb=create --resource=secrets && kubectl -n apps create rolebinding gitd-create-secrets --role=gitd-create-secrets --serviceaccount=gitd:gitd"},
		{forbidden(`services.serving.knative.dev is forbidden: User "me" cannot list resource "services" in API group "serving.knative.dev" at the cluster scope`), app.CodeUnavailable,
			"the cluster does not let me list services.serving.knative.dev (RBAC)", "--resource=services.serving.knative.dev"},
		{forbidden(`pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2`), app.CodeLimitExceeded,
			"the namespace's quota is used up: small, requested: pods=1, used: pods=2, limited: pods=2", "ResourceQuota"},
		{ending, app.CodeUnavailable, "the namespace app-hello is being deleted", "wait until it is gone"},
		{&apierrors.StatusError{ErrStatus: metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no", Details: &metav1.StatusDetails{
			Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}}}, app.CodeUnavailable, "the namespace is being deleted", ""},
		{apierrors.NewBadRequest("admission webhook \"policy.example.com\" denied the request: images come from\nregistry.example.com only"), app.CodeInvalidInput,
			"the admission webhook policy.example.com refused it: images come from registry.example.com only", "ask the cluster's operator"},
		{apierrors.NewInternalError(errors.New(`failed calling webhook "w": no endpoints available`)), app.CodeUnavailable, "failed calling webhook", "pods of that webhook"},
		{apierrors.NewGenericServerResponse(http.StatusNotFound, "get", ksvc, "", "", 0, true), app.CodeUnavailable, "Knative Serving is not installed", "install Knative"},
		{apierrors.NewNotFound(ksvc, "hello"), app.CodeNotFound, `services.serving.knative.dev "hello" not found`, ""},
		{apierrors.NewConflict(ksvc, "hello", errors.New("the object has been modified")), app.CodeUnavailable, "another client changed it at the same time", "try again"},
		{conflict("kubectl-edit", ".spec.traffic", ".metadata.labels.x"), app.CodeUnavailable,
			"other tools manage the same fields: kubectl-edit (.spec.traffic, .metadata.labels.x)", ConflictNote},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), app.CodeUnavailable, "did not answer in time", "try again"},
		{app.Errorf(app.CodeForbidden, "next", "as it was"), app.CodeForbidden, "as it was", "next"},
	} {
		got := Explain(c.err, "create the Service hello")
		if got.Code != c.code || !strings.Contains(got.Message, c.message) || !strings.Contains(got.Next, c.next) || strings.Contains(got.Message, "\n") {
			t.Errorf("%v:\n got %s: %s / %s\nwant %s: %s / %s", c.err, got.Code, got.Message, got.Next, c.code, c.message, c.next)
		}
	}
}

func conflict(manager string, fields ...string) error {
	s := metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict, Message: "Apply failed", Details: &metav1.StatusDetails{}}
	for _, f := range fields {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Field: f,
			Message: fmt.Sprintf("conflict with %q using serving.knative.dev/v1", manager)})
	}
	return &apierrors.StatusError{ErrStatus: s}
}
