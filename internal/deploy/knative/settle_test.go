package knative

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// fakeCluster is an API server with one Service and its revisions. A row of the table lets it fail.
type fakeCluster struct {
	mu sync.Mutex // mu guards the following

	service   *servingv1.Service
	revisions map[string]*servingv1.Revision
	gets      int // reads of the Service
	applies   int // writes of it

	// fault answers a request in place of the cluster, and returns true then. change is called before each read of the Service, with its
	// number. Both may be nil.
	fault  func(c *fakeCluster, w http.ResponseWriter, r *http.Request) bool
	change func(c *fakeCluster, get int)
}

func (c *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	c.mu.Lock()
	defer c.mu.Unlock()
	isService := strings.HasSuffix(r.URL.Path, "/services/app")
	switch {
	case r.URL.Query().Has("watch"):
	case isService && r.Method == http.MethodGet:
		if c.gets++; c.change != nil {
			c.change(c, c.gets)
		}
	case isService && r.Method == http.MethodPatch:
		c.applies++
	}
	if c.fault != nil && c.fault(c, w, r) {
		return
	}
	switch {
	case r.URL.Query().Has("watch"):
		c.mu.Unlock()
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		c.mu.Lock()
	case isService && c.service == nil:
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case isService && r.Method == http.MethodPatch:
		var sent servingv1.Service
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			panic(err)
		}
		c.service.Spec = sent.Spec
		answer(w, c.service)
	case isService:
		answer(w, c.service)
	case strings.HasSuffix(r.URL.Path, "/revisions"):
		l := servingv1.RevisionList{TypeMeta: metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "RevisionList"}}
		for _, rev := range c.revisions {
			l.Items = append(l.Items, *rev)
		}
		answer(w, l)
	case strings.Contains(r.URL.Path, "/revisions/"):
		rev := c.revisions[filepath.Base(r.URL.Path)]
		if rev == nil {
			status(w, http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
		answer(w, rev)
	case strings.HasSuffix(r.URL.Path, "/pods"):
		answer(w, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}})
	default:
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

func answer(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }

func status(w http.ResponseWriter, code int, reason metav1.StatusReason, causes ...metav1.StatusCause) {
	w.WriteHeader(code)
	answer(w, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason,
		Message: string(reason), Details: &metav1.StatusDetails{Name: "app", Kind: "services", Causes: causes}})
}

func condition(t apis.ConditionType, s corev1.ConditionStatus, message string) apis.Condition {
	return apis.Condition{Type: t, Status: s, Message: message}
}

// wantedService is what settle waits for: all traffic on app-v2.
func wantedService() *servingv1.Service {
	s := &servingv1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "app-app"}}
	s.Spec.Template.Name = "app-v2"
	s.Spec.Template.Spec.Containers = []corev1.Container{{Image: "x"}}
	s.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "app-v2", Percent: ptr.Int64(100)}}
	return s
}

// settled is a cluster that has done what is wanted.
func settled() *fakeCluster {
	c := &fakeCluster{service: wantedService(), revisions: map[string]*servingv1.Revision{}}
	c.service.Status.Conditions = duckv1.Conditions{condition(servingv1.ServiceConditionConfigurationsReady, corev1.ConditionTrue, ""),
		condition(servingv1.ServiceConditionRoutesReady, corev1.ConditionTrue, "")}
	c.service.Status.Traffic = c.service.Spec.Traffic
	for _, name := range []string{"app-v1", "app-v2"} {
		rev := &servingv1.Revision{TypeMeta: metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "Revision"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "app-app", Labels: map[string]string{serviceLabel: "app"}}}
		rev.Spec.Containers = []corev1.Container{{Image: "x"}}
		rev.Status.Conditions = duckv1.Conditions{condition(servingv1.RevisionConditionReady, corev1.ConditionTrue, "")}
		c.revisions[name] = rev
	}
	return c
}

// platform is a platform on the cluster, with the client that gitd uses.
func (c *fakeCluster) platform(t *testing.T) *Platform { return platformOn(t, c) }

// platformOn is a platform on a fake API server.
func platformOn(t *testing.T, c http.Handler) *Platform {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	file := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {"token": "t"}}]}`, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.Open(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return &Platform{o: Options{Client: client, NamespacePrefix: "app-", Log: t.Logf}, c: client}
}

var errGivenUp = errors.New("the client is gone")

// settleRow is one thing that a cluster does to the wait for a Service.
type settleRow struct {
	traffic []servingv1.TrafficTarget // wanted, and applied already; all to app-v2 by default
	start   func(c *fakeCluster)      // how the cluster differs from settled at the start
	change  func(c *fakeCluster, get int)
	fault   func(c *fakeCluster, w http.ResponseWriter, r *http.Request) bool
	giveUp  time.Duration // when the caller cancels; 0 for never

	ends    func(error) bool // nil: without an error
	notice  string           // part of what the caller is told; "" for nothing
	applies int              // writes of the Service
}

// atV1 leaves the traffic on the revision from before, with app-v2 under a tag.
var atV1 = []servingv1.TrafficTarget{{RevisionName: "app-v1", Percent: ptr.Int64(100)}, {RevisionName: "app-v2", Percent: ptr.Int64(0), Tag: "green"}}

// slowly lets the route follow at a later read, so that a row meets its fault while settle waits.
func slowly(c *fakeCluster, get int) {
	if unrouted(c, get); get > 3 {
		c.service.Status.Traffic = c.service.Spec.Traffic
	}
}

// unrouted keeps the route from following.
func unrouted(c *fakeCluster, _ int) {
	if c.service != nil {
		c.service.Status.Traffic = nil
	}
}

// TestSettle lets the wait for a Service meet what a cluster does to it, and checks how it ends and what the caller is told.
func TestSettle(t *testing.T) {
	for name, row := range map[string]settleRow{
		"settled already": {},
		"slow route":      {change: slowly},
		"edited by hand": {
			start: func(c *fakeCluster) { c.service.Spec.Traffic = atV1 }, applies: 1,
		},
		"edited by another field manager": {
			start: func(c *fakeCluster) { c.service.Spec.Traffic = atV1 },
			fault: func(c *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
				conflict := r.Method == http.MethodPatch && c.applies == 1
				if conflict {
					status(w, http.StatusConflict, metav1.StatusReasonConflict,
						metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kubectl"`, Field: ".spec.traffic"})
				}
				return conflict
			},
			applies: 2, notice: "was changed by kubectl (.spec.traffic)",
		},
		"edited again and again": {
			change:  func(c *fakeCluster, _ int) { c.service.Spec.Traffic = atV1 },
			applies: 3, ends: hasCode(app.CodeUnavailable),
		},
		"conflict with an update": { // not of field managers: the object changed between the server's own read and write
			start: func(c *fakeCluster) { c.service.Spec.Traffic = atV1 },
			fault: func(c *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					status(w, http.StatusConflict, metav1.StatusReasonConflict)
				}
				return r.Method == http.MethodPatch
			},
			applies: 1, ends: apierrors.IsConflict,
		},
		"throttled": {change: slowly, fault: failing(http.StatusTooManyRequests, 2)},
		"away":      {change: slowly, fault: failing(http.StatusServiceUnavailable, 5), notice: "waiting for the API server"},
		"not allowed": {
			fault: func(c *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
				no := strings.HasSuffix(r.URL.Path, "/revisions") && !r.URL.Query().Has("watch")
				if no {
					status(w, http.StatusForbidden, metav1.StatusReasonForbidden)
				}
				return no
			},
			ends: apierrors.IsForbidden,
		},
		"watches cut": {change: slowly, fault: func(_ *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("watch") {
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		"watches refused": {change: slowly, fault: func(_ *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("watch") {
				status(w, http.StatusForbidden, metav1.StatusReasonForbidden)
			}
			return r.URL.Query().Has("watch")
		}},
		"Service deleted meanwhile": {
			change: func(c *fakeCluster, get int) {
				if unrouted(c, get); get == 2 {
					c.service = nil
				}
			},
			ends: func(err error) bool { return errors.Is(err, deploy.ErrNotFound) },
		},
		"revision deleted meanwhile": {
			traffic: atV1,
			change: func(c *fakeCluster, get int) {
				if unrouted(c, get); get == 2 {
					delete(c.revisions, "app-v1")
				}
			},
			ends: hasCode(app.CodeUnavailable),
		},
		"revision refused": {
			start: func(c *fakeCluster) {
				delete(c.revisions, "app-v2")
				c.service.Status.Conditions[0] = condition(servingv1.ServiceConditionConfigurationsReady, corev1.ConditionFalse, "Revision creation failed: denied")
			},
			ends: func(err error) bool {
				var start *deploy.StartError
				return errors.As(err, &start) && strings.Contains(start.Detail, "denied")
			},
		},
		"another revision fails": {
			traffic: atV1,
			start: func(c *fakeCluster) {
				c.revisions["app-v1"].Status.Conditions = duckv1.Conditions{condition(servingv1.RevisionConditionReady, corev1.ConditionFalse, "over"),
					{Type: servingv1.RevisionConditionResourcesAvailable, Status: corev1.ConditionFalse, Reason: servingv1.ReasonProgressDeadlineExceeded, Message: "over"}}
			},
			ends: func(err error) bool {
				var other *otherError
				return errors.As(err, &other) && other.revision == "app-v1"
			},
		},
		"given up": {
			change: unrouted,
			giveUp: 300 * time.Millisecond, ends: func(err error) bool { return errors.Is(err, errGivenUp) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.run(t)
		})
	}
}

func (row settleRow) run(t *testing.T) {
	c, want := settled(), wantedService()
	if row.traffic != nil {
		c.service.Spec.Traffic, want.Spec.Traffic = row.traffic, row.traffic
	}
	if row.start != nil {
		row.start(c)
	}
	c.change, c.fault = row.change, row.fault
	p := c.platform(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if row.giveUp > 0 {
		time.AfterFunc(row.giveUp, func() { cancel(errGivenUp) })
	}
	var mu sync.Mutex
	var notices []string
	ctx = p.calling(app.WithNotice(ctx, func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, fmt.Sprintf(format, args...))
	}))
	err := p.settle(ctx, want, &release{name: "app-v2", hash: "0123456789abcdef"})
	if row.ends == nil && err != nil || row.ends != nil && (err == nil || !row.ends(err)) {
		t.Errorf("it ended with %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if all := strings.Join(notices, "; "); row.notice == "" && all != "" || !strings.Contains(all, row.notice) {
		t.Errorf("told %q, want %q", all, row.notice)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.applies != row.applies {
		t.Errorf("%d applies, want %d", c.applies, row.applies)
	}
}

func hasCode(code app.Code) func(error) bool {
	return func(err error) bool { return app.CodeOf(err) == code }
}

// failing answers the first n reads after the first one with a status.
func failing(code, n int) func(c *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
	return func(_ *fakeCluster, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("watch") || n == 0 {
			return false
		}
		n--
		status(w, code, metav1.StatusReasonUnknown)
		return true
	}
}
