package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Explain turns an error of the API into an *app.Error. doing is what failed: "create the Service hello". An *app.Error stays as it is.
func Explain(err error, doing string) *app.Error {
	var known *app.Error
	if errors.As(err, &known) {
		return known
	}
	code, why, next := explain(err)
	return app.Wrap(err, code, next, "cannot %s: %s", doing, strings.Join(strings.Fields(why), " "))
}

func explain(err error) (code app.Code, why, next string) {
	var (
		away *unreachable
		no   *refused
	)
	switch {
	case errors.As(err, &no):
		return unauthorized(no.identity)
	case errors.As(err, &away):
		return unreached(away)
	case errors.Is(err, context.DeadlineExceeded):
		return app.CodeUnavailable, "the cluster did not answer in time", "try again; if it stays so, look at the cluster's API server"
	case meta.IsNoMatchError(err):
		return app.CodeUnavailable, err.Error(), "install what is missing on the cluster"
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return app.CodeInternal, err.Error(), "look at the server's log, and at the cluster's API server"
	}
	s := status.Status()
	return answered(err, s)
}

// answered explains what the API server said.
func answered(err error, s metav1.Status) (code app.Code, why, next string) {
	message := s.Message
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || strings.Contains(message, "because it is being terminated"):
		ns := ""
		if m := terminating.FindStringSubmatch(message); m != nil {
			ns = m[1] + " "
		}
		return app.CodeUnavailable, "the namespace " + ns + "is being deleted", "wait until it is gone, then push again"
	case strings.Contains(message, "exceeded quota: "):
		_, quota, _ := strings.Cut(message, "exceeded quota: ")
		return app.CodeLimitExceeded, "the namespace's quota is used up: " + quota, "raise the ResourceQuota, or remove what is not needed"
	case webhook.MatchString(message):
		m := webhook.FindStringSubmatch(message)
		return app.CodeInvalidInput, fmt.Sprintf("the admission webhook %s refused it: %s", m[1], m[2]), "change what it asks for, or ask the cluster's operator"
	case strings.Contains(message, "failed calling webhook"):
		return app.CodeUnavailable, message, "look at the pods of that webhook: kubectl get pods -A"
	case apierrors.IsForbidden(err):
		return forbidden(message)
	case len(Conflicts(err)) > 0:
		var all []string
		for _, c := range Conflicts(err) {
			all = append(all, c.String())
		}
		return app.CodeUnavailable, "other tools manage the same fields: " + strings.Join(all, "; "), ConflictNote
	case apierrors.IsConflict(err):
		return app.CodeUnavailable, "another client changed it at the same time", "try again"
	case apierrors.IsNotFound(err) && (s.Details == nil || s.Details.Name == ""):
		what := "what gitd asks for"
		if s.Details != nil && s.Details.Group != "" {
			what = s.Details.Group + "/" + s.Details.Kind
		}
		if s.Details != nil && strings.HasSuffix(s.Details.Group, "knative.dev") {
			return app.CodeUnavailable, "the cluster does not know " + what + ": Knative Serving is not installed", "install Knative Serving, then try again"
		}
		return app.CodeUnavailable, "the cluster does not know " + what, "look whether its version is supported"
	case apierrors.IsNotFound(err):
		return app.CodeNotFound, message, "see what there is: kubectl get"
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return app.CodeInvalidInput, message, "correct what the message names"
	case apierrors.IsRequestEntityTooLargeError(err):
		return app.CodeLimitExceeded, message, "make it smaller: a cluster takes objects up to about 1 MiB"
	}
	return app.CodeUnavailable, message, "try again; if it stays so, look at the cluster's API server"
}

var (
	terminating = pattern.New(`namespace (\S+) because it is being terminated`)
	webhook     = pattern.New(`(?s)admission webhook "([^"]+)" denied the request(?:: (.*)| without explanation)`)
	denied      = pattern.New(`User "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)"| (at the cluster scope))?`)
)

// forbidden names the missing right and how to give it.
func forbidden(message string) (app.Code, string, string) {
	m := denied.FindStringSubmatch(message)
	if m == nil {
		return app.CodeUnavailable, message, "ask the cluster's operator"
	}
	why, next := MissingRight(m[1], m[2], m[3], m[4], m[5])
	return app.CodeUnavailable, why, next
}

// MissingRight says in words that RBAC lets user not do verb with a resource of group ("" for the core) in a namespace ("" for all of the
// cluster), and how to grant it.
func MissingRight(user, verb, resource, group, namespace string) (why, next string) {
	full := resource
	if group != "" {
		name, sub, has := strings.Cut(resource, "/")
		full = name + "." + group
		if has {
			full += "/" + sub
		}
	}
	subject := "--user=" + user
	if rest, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		subject = "--serviceaccount=" + rest
	}
	name := "gitd-" + verb + "-" + strings.NewReplacer("/", "-", ".", "-").Replace(resource)
	if namespace != "" {
		return fmt.Sprintf("the cluster does not let %s %s %s in the namespace %s (RBAC)", user, verb, full, namespace),
			fmt.Sprintf("grant it: kubectl -n %[1]s create role %[2]s --verb=%[3]s --resource=%[4]s && kubectl -n %[1]s create rolebinding %[2]s --role=%[2]s %[5]s",
				namespace, name, verb, full, subject)
	}
	return fmt.Sprintf("the cluster does not let %s %s %s (RBAC)", user, verb, full),
		fmt.Sprintf("grant it: kubectl create clusterrole %[1]s --verb=%[2]s --resource=%[3]s && kubectl create clusterrolebinding %[1]s --clusterrole=%[1]s %[4]s",
			name, verb, full, subject)
}

func unauthorized(who identity) (app.Code, string, string) {
	if !who.expired.IsZero() && time.Now().After(who.expired) {
		return app.CodeUnavailable, fmt.Sprintf("the client certificate in %s expired on %s", who.source, who.expired.UTC().Format("2006-01-02 15:04 MST")),
			"get a new kubeconfig from the cluster's operator"
	}
	return app.CodeUnavailable, fmt.Sprintf("the cluster at %s does not accept the credentials in %s", who.address, who.source),
		"get a new kubeconfig from the cluster's operator"
}

func unreached(e *unreachable) (app.Code, string, string) {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		dns       *net.DNSError
		op        *net.OpError
	)
	where := fmt.Sprintf("%s (from %s)", e.address, e.source)
	switch {
	case errors.As(e.err, &authority):
		return app.CodeUnavailable, "the certificate of " + where + " is signed by an authority that the kubeconfig does not name",
			"take certificate-authority-data from the cluster's operator; a proxy may intercept the connection"
	case errors.As(e.err, &host):
		return app.CodeUnavailable, "the certificate of " + where + " is for another name: " + host.Error(), "use a name in the kubeconfig that the certificate has"
	case errors.As(e.err, &invalid):
		return app.CodeUnavailable, "the certificate of " + where + " is not valid: " + invalid.Error(), "ask the cluster's operator to renew it; check this machine's clock"
	case strings.Contains(e.err.Error(), "tls: expired certificate") || strings.Contains(e.err.Error(), "tls: bad certificate"):
		return unauthorized(e.identity)
	case errors.As(e.err, &dns):
		return app.CodeUnavailable, "the cluster's name in " + where + " does not resolve: " + dns.Err, "check the server address in the kubeconfig"
	}
	why := e.err.Error()
	if errors.As(e.err, &op) {
		why = op.Err.Error()
		if i := strings.LastIndex(why, ": "); i >= 0 { // "connect: connection refused"
			why = why[i+2:]
		}
	}
	return app.CodeUnavailable, "no cluster answers at " + where + ": " + why, "check that the cluster runs, and that the kubeconfig is the right one"
}
