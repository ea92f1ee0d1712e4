package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
)

// config writes a kubeconfig for a server.
func config(t *testing.T, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "mine"}}],
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {"token": "t"}}]}`, server)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t *testing.T, server string) *Client {
	t.Helper()
	c, err := Open(config(t, server), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A server that restarts is waited for, and who waits is told once. What may have had an effect is not sent twice.
func TestTransient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // its port has no listener
	var posts, gets atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPost && posts.Add(1) == 1:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcdserver: leader changed"}`)
		case r.Method == http.MethodGet && gets.Add(1) == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodGet && gets.Load() == 2:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcdserver: leader changed"}`)
		default:
			_, _ = io.WriteString(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}`)
		}
	})
	c := open(t, "http://"+address)
	if c.Namespace != "mine" {
		t.Errorf("namespace %q", c.Namespace)
	}
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	var told atomic.Int64
	began := make(chan struct{}, 1)
	ctx := app.WithNotice(t.Context(), func(format string, args ...any) {
		told.Add(1)
		if s := fmt.Sprintf(format, args...); !strings.Contains(s, "waiting for the API server") {
			t.Error(s)
		}
		began <- struct{}{}
	})
	go func() {
		<-began // it was told: the server comes back
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		s := &http.Server{Handler: handler}
		context.AfterFunc(t.Context(), func() { _ = s.Close() })
		_ = s.Serve(l)
	}()
	if _, err := c.Resource(gvr, "mine").Get(ctx, "a", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if told.Load() != 1 || gets.Load() != 3 {
		t.Errorf("told %d times, %d requests", told.Load(), gets.Load())
	}
	body := c.REST.Post().AbsPath("/api/v1/namespaces/mine/pods").Body([]byte("{}"))
	if err := body.Do(ctx).Error(); err == nil || posts.Load() != 1 {
		t.Errorf("a POST that may have had an effect: %v, sent %d times", err, posts.Load())
	}
}

// Retries end after the time that is set, and with the context.
func TestRetryTime(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c := open(t, s.URL)
	err := c.REST.Get().AbsPath("/version").Do(WithRetryTime(t.Context(), 300*time.Millisecond)).Error()
	e := Explain(err, "reach the cluster")
	if e.Code != app.CodeUnavailable || !strings.Contains(e.Message, "no cluster answers at "+s.URL+" (from ") || !strings.HasSuffix(e.Message, ": connection refused") {
		t.Errorf("%v", e)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if err := c.REST.Get().AbsPath("/version").Do(ctx).Error(); err == nil {
		t.Error("it answered")
	}
}

func TestOpen(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("a: [b"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, context, want string }{
		"no file":     {"/none/such", "", "the kubeconfig /none/such cannot be read: no such file or directory"},
		"not yaml":    {bad, "", "is not usable"},
		"no context":  {config(t, "http://127.0.0.1:1"), "other", `context "other" does not exist`},
		"nothing set": {"", "", "no cluster is configured"},
	} {
		_, err := Open(c.file, c.context)
		if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the API server says of an error reaches callers of Client.REST: the reason, and the sentence.
func TestStatus(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
			"message": "pods \"a\" is forbidden: User \"u\" cannot get it", "details": {"name": "a", "kind": "pods"}}`)
	}))
	defer s.Close()
	c := open(t, s.URL)
	path := "/api/v1/namespaces/mine/pods/a/log"
	_, stream := c.REST.Get().AbsPath(path).Stream(t.Context())
	for how, err := range map[string]error{"do": c.REST.Get().AbsPath(path).Do(t.Context()).Error(), "stream": stream} {
		var status apierrors.APIStatus
		if !errors.As(err, &status) || !apierrors.IsForbidden(err) || !strings.Contains(fmt.Sprint(status.Status()), `User "u" cannot get it`) {
			t.Errorf("%s: %v", how, err)
		}
	}
}
