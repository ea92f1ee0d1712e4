package contract

import (
	"testing"

	"github.com/gitd-io/gitd/internal/app/apptest"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// drift: the Service is edited by hand. The next rollout starts from the edited state, overrides it, and reports that.
func (s *suite) drift(t *testing.T) {
	if s.env.Edit == nil {
		t.Skip(s.env.NoEdit)
	}
	s.mustRoll(t, s.service("drift", "v1"))
	s.mustRoll(t, s.service("drift", "v2", "COLOUR=red"))
	edit := func(change func(*servingv1.Service)) {
		t.Helper()
		if err := s.env.Edit(within(t), "drift", change); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(svc *servingv1.Service) {
		svc.Spec.Traffic = nil
		traffic(svc, "drift-v1 100")
	})
	apptest.Eventually(t, settles, "the edit is live", func() bool {
		_, body, _ := s.get(within(t), "drift", "/")
		return body == "v1" && s.describe(t, "drift")["drift-v1"].Percent == 100
	})
	// Traffic: blue is what serves, also after an edit by hand.
	told, out := s.mustRoll(t, s.service("drift", "v3", "COLOUR=blue"))
	contains(t, told, "was changed by "+Editor, ".spec.traffic", "Traffic: drift-v1 100% → 0%, drift-v3 0% → 100%")
	if len(out.Previous) != 1 || out.Previous[0] != "drift-v1" {
		t.Errorf("previous: %v", out.Previous)
	}
	s.want(t, "drift", "/", "v3")
	// The template: another image and a variable, as a revision of its own.
	edit(func(svc *servingv1.Service) {
		svc.Spec.Template.Name = "drift-hand"
		c := &svc.Spec.Template.Spec.Containers[0]
		c.Env = append(c.Env, s.service("drift", "hand", "COLOUR=hand").Spec.Template.Spec.Containers[0].Env...)
		svc.Spec.Traffic = nil
		traffic(svc, "drift-hand 100")
	})
	apptest.Eventually(t, settles, "the edit is live", func() bool {
		_, body, _ := s.get(within(t), "drift", "/env?name=COLOUR")
		return body == "hand" && s.describe(t, "drift")["drift-hand"].Percent == 100
	})
	_, _, err := s.roll(t, s.service("drift", "v4", "MODE=exit")) // a failed rollout changes nothing
	if err == nil {
		t.Error("an app that exits went live")
	}
	s.want(t, "drift", "/env?name=COLOUR", "hand")
	told, _ = s.mustRoll(t, s.service("drift", "v5", "COLOUR=green"))
	contains(t, told, "Traffic: drift-hand 100% → 0%, drift-v5 0% → 100%")
	s.want(t, "drift", "/env?name=COLOUR", "green")
	if _, ok := s.describe(t, "drift")["drift-hand"]; !ok {
		t.Error("the revision of the edit is gone")
	}
}

// collected: a revision that the platform removed by itself is rolled out again with its image and its configuration.
func (s *suite) collected(t *testing.T) {
	colours := map[string]string{"v1": "red", "v2": "green", "v3": "blue"}
	for _, v := range []string{"v1", "v2", "v3"} {
		s.mustRoll(t, s.service("collected", v, "COLOUR="+colours[v]))
	}
	if err := s.env.Collect(within(t), "collected", "collected-v1"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.describe(t, "collected")["collected-v1"]; ok {
		t.Fatal("it is still there")
	}
	s.mustRoll(t, s.service("collected", "v1", "COLOUR=red"))
	s.want(t, "collected", "/", "v1")
	s.want(t, "collected", "/env?name=COLOUR", "red")
	s.mustRoll(t, s.service("collected", "v3", "COLOUR=blue"))
	s.want(t, "collected", "/env?name=COLOUR", "blue")
}
