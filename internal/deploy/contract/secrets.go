package contract

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Config has the configurations of the suite's apps. A platform that is tested is given it.
var Config deploy.Configuration = fixedConfig{}

type fixedConfig struct{}

// appWithConfig is the ID of the app that has a configuration.
const appWithConfig = 7

// Values implements deploy.Configuration.
func (fixedConfig) Values(_ context.Context, appID int64, name string, version int) (map[string][]byte, error) {
	if appID != appWithConfig || name != "secrets" {
		return nil, app.Errorf(app.CodeNotFound, "name another one", "the app %s (%d) has no configuration", name, appID)
	}
	switch version {
	case 1:
		return map[string][]byte{"COLOUR": []byte("secret-red"), "SEVERAL": []byte("line one\n  'two' \"$HOME\" é\n"), "EMPTY": {}}, nil
	case 2:
		return map[string][]byte{"SEVERAL": []byte("another")}, nil
	}
	return nil, app.Errorf(app.CodeUnavailable, "put it back", "the key is lost")
}

// secrets: a Service names a version of the app's configuration, and its processes have the values in their environment. They count before the template's
// own, a revision keeps its version, and nothing of them is in what the platform tells.
func (s *suite) secrets(t *testing.T) {
	p := s.env.Platform
	release := func(version string, configuration int, env ...string) *servingv1.Service {
		svc := s.service("secrets", version, env...)
		svc.Spec.Template.Annotations[deploy.AppIDAnnotation] = "7"
		deploy.SetConfiguration(&svc.Spec.Template, "secrets", configuration)
		return svc
	}
	var b bytes.Buffer
	if err := deploy.RunProcess(within(t), p, release("v1", 1, "COLOUR=red", "STATUS=0"), "job", &b); err != nil || b.String() != "job of v1, secret-red\n" {
		t.Fatalf("the release command wrote %q, %v", b.String(), err)
	}
	s.mustRoll(t, release("v1", 1, "COLOUR=red"))
	for name, value := range map[string]string{"COLOUR": "secret-red", "SEVERAL": "line one\n  'two' \"$HOME\" é\n", "EMPTY": "", "VERSION": "v1", "K_REVISION": "secrets-v1"} {
		s.want(t, "secrets", "/env?name="+name, value)
	}
	if err := p.SetWorkers(within(t), release("v1", 1, "COLOUR=red"), jobs(1)); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, settles, "the worker has the configuration", func() bool {
		b.Reset()
		return p.Logs(within(t), "secrets", deploy.LogOptions{}, &b) == nil && strings.Contains(b.String(), "job of v1, secret-red")
	})
	if err := p.SetWorkers(within(t), release("v1", 1, "COLOUR=red"), nil); err != nil {
		t.Fatal(err)
	}
	s.mustRoll(t, release("v2", 2, "COLOUR=red"))
	s.want(t, "secrets", "/env?name=COLOUR", "red")
	s.want(t, "secrets", "/env?name=SEVERAL", "another")
	told, err := p.Get(within(t), "secrets")
	if err != nil {
		t.Fatal(err)
	}
	if version, err := deploy.ConfigurationOf(&told.Spec.Template, "secrets"); err != nil || version != 2 || strings.Contains(fmt.Sprint(told), "another") {
		t.Errorf("the Service has configuration %d, %v: %v", version, err, told)
	}
	if told, _, err := s.roll(t, release("v3", 3)); err == nil || !strings.Contains(err.Error(), "the key is lost") {
		t.Errorf("a configuration that cannot be read: %v\n%s", err, told)
	}
	s.want(t, "secrets", "/env?name=SEVERAL", "another")
	s.mustRoll(t, release("v1", 1, "COLOUR=red")) // a rollback: its revision has its configuration
	s.want(t, "secrets", "/env?name=COLOUR", "secret-red")
	other := release("v4", 1)
	deploy.SetConfiguration(&other.Spec.Template, "another", 1)
	if err := p.Apply(within(t), other); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("the configuration of another app: %v", err)
	}
}
