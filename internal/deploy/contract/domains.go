package contract

import (
	"net/http"
	"testing"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// domains: names of its own lead to a Service, whichever revision is live; they move to another one, and go.
func (s *suite) domains(t *testing.T) {
	p := s.env.Platform
	set := func(service string, names ...string) {
		t.Helper()
		var all []deploy.Domain
		for _, n := range names {
			all = append(all, deploy.Domain{Name: n})
		}
		if err := p.SetDomains(within(t), service, all); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.SetDomains(within(t), "domains", []deploy.Domain{{Name: "*.contract.example"}}); (err == nil) != p.Can(deploy.WildcardDomains) {
		t.Errorf("a domain with *: %v", err)
	}
	const shop, blog = "shop.contract.example", "blog.contract.example"
	set("domains", shop) // before there is a Service
	s.mustRoll(t, stays(s.service("domains", "v1")))
	s.answers(t, shop, http.StatusOK, "v1")
	s.mustRoll(t, stays(s.service("domains", "v2")))
	s.answers(t, shop, http.StatusOK, "v2")
	set("domains", shop, blog)
	s.answers(t, blog, http.StatusOK, "v2")
	set("domains", blog)
	s.answers(t, shop, http.StatusNotFound, "")
	s.answers(t, blog, http.StatusOK, "v2")

	s.mustRoll(t, stays(s.service("domains-b", "w1")))
	set("domains")
	set("domains-b", blog)
	s.answers(t, blog, http.StatusOK, "w1")
	if err := p.Delete(within(t), "domains-b"); err != nil {
		t.Fatal(err)
	}
	set("domains-b")
	s.answers(t, blog, http.StatusNotFound, "")
	s.want(t, "domains", "/", "v2")
}

// answers fails unless the name answers with this status and body, after the platform has settled.
func (s *suite) answers(t *testing.T, name string, status int, body string) {
	t.Helper()
	apptest.Eventually(t, settles, name+" answers "+http.StatusText(status)+" "+body, func() bool {
		code, got, err := s.ask(within(t), name, "/")
		return err == nil && code == status && (body == "" || got == body)
	})
}
