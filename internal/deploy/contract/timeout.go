package contract

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"knative.dev/pkg/ptr"
)

// timeout: a request whose response does not begin in the time of its Service is answered with 504, and the instance serves on. A response that has begun goes on, where
// the platform can do that.
func (s *suite) timeout(t *testing.T) {
	svc := stays(s.service("slow", "v1"))
	svc.Spec.Template.Spec.TimeoutSeconds = ptr.Int64(2)
	s.mustRoll(t, svc)
	began := time.Now()
	code, body, err := s.get(within(t), "slow", "/sleep?ms=60000")
	if took := time.Since(began); err != nil || code != http.StatusGatewayTimeout || took < 2*time.Second || took > 50*time.Second {
		t.Errorf("a request that hangs: %d %q, %v, after %v", code, body, err, took)
	}
	s.want(t, "slow", "/", "v1")
	code, body, err = s.get(within(t), "slow", "/stream?ms=5000")
	t.Logf("a response that has begun: %d %q, %v", code, body, err)
	whole := err == nil && code == http.StatusOK && strings.HasSuffix(body, ".end")
	if code != http.StatusOK || whole == (s.env.EndsStreams != "") {
		t.Errorf("a response that has begun: %d %q, %v", code, body, err)
	}
	s.want(t, "slow", "/", "v1")
}
