package contract

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/deploy"
)

// sends: a request of the platform's own goes the way of a client's. The Service is at zero.
func (s *suite) sends(t *testing.T, service string) {
	do := func(service, method, path, body string) (int, string, error) {
		t.Helper()
		r, err := http.NewRequest(method, path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Mark", "kept")
		res, err := s.env.Platform.Send(within(t), service, r)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return res.StatusCode, string(text), err
	}
	if _, _, err := do("nothing", http.MethodGet, "/", ""); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("to nothing: %v", err)
	}
	long := strings.Repeat("x", 2<<20)
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{http.MethodGet, "/?a=1", "", http.StatusOK, "v1"},
		{http.MethodPost, "/echo?header=X-Mark", long, http.StatusOK, "kept " + long},
		{http.MethodGet, "/fails", "", http.StatusServiceUnavailable, ""},
	} {
		if code, body, err := do(service, tt.method, tt.path, tt.body); err != nil || code != tt.status || tt.want != "" && body != tt.want {
			t.Errorf("%s %s: %d %.40q, %v", tt.method, tt.path, code, body, err)
		}
	}
}
