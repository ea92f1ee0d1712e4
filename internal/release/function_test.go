package release

import (
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/pull"
)

// What the build found of a function is in the release's Service; an image that serves none takes it away.
func TestNewService_Function(t *testing.T) {
	settings, err := project.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	found := &function.Spec{Contract: function.Lambda, Language: "python", Target: "app.handler", Concurrency: 1, Health: "/ready"}
	settings.Web.Function(found)
	service := newService(app.Release{App: "fn", Version: 1}, &build.Result{Repository: "fn", Digest: "sha256:1", Function: found}, settings.Web, processes{web: true})
	template := &service.Spec.Template
	if got, err := function.Of(template.Annotations); err != nil || *got != *found || *template.Spec.ContainerConcurrency != 1 || template.Annotations[pathAnnotation] != "/ready" {
		t.Errorf("%+v, %v, %v", got, err, template)
	}
	image := func(label string) error {
		f := &pull.Found{}
		f.Labels = map[string]string{function.Label: label}
		return (&deployment{}).imageFunction(template, f)
	}
	if err := image(""); err != nil || template.Spec.ContainerConcurrency != nil || template.Annotations[pathAnnotation] != "/" {
		t.Errorf("%v, %v", err, template)
	}
	if got, err := function.Of(template.Annotations); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if err := image(`{"concurrency": 4, "health": "/up"}`); err != nil || *template.Spec.ContainerConcurrency != 4 || template.Annotations[pathAnnotation] != "/up" {
		t.Errorf("%v, %v", err, template)
	}
	if err := image(`{"concurrency": -4}`); app.CodeOf(err) != app.CodeInvalidInput {
		t.Error(err)
	}
}
