package contract

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// sticky: in a split that is sticky a client stays with the revision that it came to first. Where the platform cannot do that, the split is refused, and nothing changes.
func (s *suite) sticky(t *testing.T) {
	p := s.env.Platform
	s.mustRoll(t, stays(s.service("sticky", "v1")))
	s.mustRoll(t, stays(s.service("sticky", "v2")))
	svc := traffic(stays(s.service("sticky", "v2")), "sticky-v1 50", "sticky-v2 50")
	deploy.SetSticky(svc, true)
	err := p.Apply(within(t), svc)
	if !p.Can(deploy.StickySplits) {
		if app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("a sticky split: %v", err)
		}
		s.want(t, "sticky", "/", "v2")
		if states := s.describe(t, "sticky"); states["sticky-v2"].Percent != 100 {
			t.Errorf("revisions: %+v", states)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]int{}
	for range 40 {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar, Transport: s.client.Transport}
		came := s.body(t, client, "sticky")
		first[came]++
		for range 10 {
			if now := s.body(t, client, "sticky"); now != came {
				t.Fatalf("a client of %s came to %s", came, now)
			}
		}
	}
	if first["v1"] < 5 || first["v2"] < 5 {
		t.Errorf("of 40 clients: %v", first)
	}
}

// body is what a client of its own gets from LABEL.DOMAIN.
func (s *suite) body(t *testing.T, client *http.Client, label string) string {
	t.Helper()
	q, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+label+"."+s.env.Domain+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", res.StatusCode, err)
	}
	return string(b)
}
