package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// ScaleAsk asks for a number of instances of a process type.
type ScaleAsk struct {
	deploy.Scale
	Open    bool // "web=2..": Max is what the app's own files say
	Default bool // "web=default": both are
	text    string
}

// ParseScale reads "web=1..10", "web=0..", "worker=2" and "worker=default". It returns an *app.Error for another form.
func ParseScale(text string) (ScaleAsk, error) {
	name, number, ok := strings.Cut(text, "=")
	a := ScaleAsk{Scale: deploy.Scale{Type: name}, text: text}
	if !ok || deploy.CheckProcesses(name) != nil {
		return a, app.Errorf(app.CodeInvalidInput, "write it as web=1..10 or worker=2", "%q is not a number of instances of a process type", app.Clip(text, 60))
	}
	if a.Default = number == "default"; a.Default {
		return a, nil
	}
	low, high, between := strings.Cut(number, "..")
	a.Open = between && high == ""
	most := int64(project.MaxInstances)
	if name == webProcess {
		most = project.MaxScale
	}
	var err, e error
	if a.Min, err = strconv.ParseInt(low, 10, 64); !between {
		high = low
	}
	if !a.Open {
		a.Max, e = strconv.ParseInt(high, 10, 64)
	}
	switch {
	case err != nil || e != nil || a.Min < 0 || a.Max < 0 || a.Min > most || a.Max > most:
		return a, app.Errorf(app.CodeInvalidInput, fmt.Sprintf("give numbers from 0 to %d: %s=1..10 for web, %s=2 for a worker", most, webProcess, "worker"), "%s: %q is not a number of instances", name, app.Clip(number, 30))
	case name != webProcess && between:
		return a, app.Errorf(app.CodeInvalidInput, "give one number: "+name+"=2", "%s takes no requests that its number could follow: %q", name, app.Clip(number, 30))
	case name == webProcess && a.Max == 0 && !a.Open:
		return a, app.Errorf(app.CodeInvalidInput, "ps stop APP stops it; web=0.. lets it go to zero while no requests come", "web=%s leaves no instance for requests", app.Clip(number, 30))
	case !a.Open && a.Min > a.Max:
		return a, app.Errorf(app.CodeInvalidInput, "write the smaller number first", "%s: %d is more than %d", name, a.Min, a.Max)
	}
	return a, nil
}

// errAsItIs ends a change that would change nothing, before it enters the ledger.
var errAsItIs = errors.New("it is so already")

// Scale gives process types of the live release other numbers of instances, as a new entry in the ledger. They hold for the releases to come. Another
// number of web takes a revision of its own, through the gate of a push; workers alone keep what runs of them. It returns an *app.Error: CodeInvalidInput
// for a type that the app does not have, CodeLimitExceeded over the operator's caps or the machine, CodeForbidden, or why it did not go live.
func (m *Machine) Scale(ctx context.Context, by app.Caller, name string, asks []ScaleAsk, log *app.Log) (app.Result, error) {
	var set []deploy.Scale
	var before servingv1.RevisionTemplateSpec
	result, err := m.change(ctx, by, name, change{
		kind: app.KindScale, says: "scaling", message: texts(asks),
		find: func(l store.Ledger) (app.Release, error) { return l.Live(ctx) },
		check: func(ctx context.Context, from app.Release, service *servingv1.Service) (err error) {
			before = *service.Spec.Template.DeepCopy()
			if set, err = scaled(service, from, asks); err != nil {
				return err
			}
			after := service.DeepCopy()
			if deploy.SetScale(after, set); slices.Equal(deploy.ScaleOf(after), deploy.ScaleOf(service)) {
				return errAsItIs
			}
			return m.checkScale(ctx, name, service, after)
		},
		edit: func(_ context.Context, r *app.Release, service *servingv1.Service) error {
			if !deploy.SetScale(service, set) { // it stays as it is, also where a staged configuration waits
				service.Spec.Template = before
			}
			return nil
		},
	}, log)
	if errors.Is(err, errAsItIs) {
		log.Detail("%s: nothing to change", name)
		return result, nil
	}
	return result, err
}

// texts are the asks as they were written.
func texts(asks []ScaleAsk) string {
	all := make([]string, len(asks))
	for i, a := range asks {
		all[i] = a.text
	}
	return strings.Join(all, " ")
}

// scaled is what is set by hand for a Service once the asks are met.
func scaled(service *servingv1.Service, from app.Release, asks []ScaleAsk) ([]deploy.Scale, error) {
	set := deploy.ScaleOf(service)
	for _, a := range asks {
		switch {
		case a.Type == releaseProcess:
			return nil, app.Errorf(app.CodeInvalidInput, "remove it from the Procfile to switch it off", "release runs once for each push")
		case !has(from.Processes, a.Type):
			return nil, app.Errorf(app.CodeInvalidInput, "name one that the image has", "%s has no process type %q (it has: %s)", from.App, a.Type, types(from.Processes))
		case a.Type == webProcess && deploy.WithoutWeb(&service.Spec.Template):
			return nil, app.Errorf(app.CodeInvalidInput, "scale its workers: "+deploy.WorkerNames(deploy.Workers(service)), "%s runs workers alone", from.App)
		}
		if set = slices.DeleteFunc(set, func(s deploy.Scale) bool { return s.Type == a.Type }); a.Default {
			continue
		}
		if file := deploy.FileScale(service).Max; a.Open && file > 0 {
			a.Max = max(file, a.Min)
		}
		set = append(set, a.Scale)
	}
	after := service.DeepCopy()
	if deploy.SetScale(after, set); deploy.WithoutWeb(&service.Spec.Template) && len(deploy.Workers(after)) == 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "ps stop "+from.App+" stops all of it", "nothing of %s would run", from.App)
	}
	return set, nil
}

// checkScale refuses a scale above the operator's caps, and one that the machine has no memory for.
func (m *Machine) checkScale(ctx context.Context, name string, before, after *servingv1.Service) error {
	live, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	if err := m.checkService(ctx, app.Release{App: name, AppID: live.ID}, after, "scale to less"); err != nil {
		return err
	}
	more := alwaysTakes(after) - alwaysTakes(before)
	total, left := m.o.Platform.Memory(ctx)
	if total <= 0 || more <= 0 || more <= left {
		return nil
	}
	return app.Errorf(app.CodeLimitExceeded, "scale to less, or give an instance less in project.toml (memory)",
		"the instances that always run could take %s more: the machine has %s, of which %s is left", quantity(more), app.Size(total), app.Size(max(left, 0)))
}

// keepScale gives a Service what is set by hand for the live release: it is a setting of the app, which older releases take over. A template
// that changes with it gets the name of this release.
func (d *deployment) keepScale(ctx context.Context, service *servingv1.Service) error {
	set, err := d.liveScale(ctx)
	if err != nil || len(set) == 0 && len(deploy.ScaleOf(service)) == 0 {
		return err
	}
	set = slices.DeleteFunc(set, func(s deploy.Scale) bool { return !has(d.release.Processes, s.Type) })
	if deploy.SetScale(service, set) {
		service.Spec.Template.Name = app.RevisionName(d.release.App, d.release.Version)
	}
	return nil
}

// liveScale is what is set by hand for the live release.
func (d *deployment) liveScale(ctx context.Context) ([]deploy.Scale, error) {
	live, err := d.live(ctx)
	if live == nil {
		return nil, err
	}
	return deploy.ScaleOf(live.service), nil
}

// takeScale gives the Service of a push what is set by hand for the live release, and says so where the app's files say something else.
func (d *deployment) takeScale(service *servingv1.Service, settings *project.Descriptor, set []deploy.Scale) {
	var kept, other, back []string
	set = slices.DeleteFunc(slices.Clone(set), func(s deploy.Scale) bool {
		gone := !has(d.release.Processes, s.Type)
		if gone {
			d.log.Detail("%s: no such process type any more: with this release goes what ps scale had set for it", s.Type)
		}
		return gone
	})
	for _, s := range set {
		kept = append(kept, s.String())
		if said := fileSays(settings, s); said != "" {
			other, back = append(other, said), append(back, s.Type+"=default")
		}
	}
	if deploy.SetScale(service, set); len(kept) == 0 {
		return
	}
	d.log.Detail("instances as ps scale set them: %s", strings.Join(kept, " "))
	if len(other) > 0 {
		d.log.Detail("the app's files say %s; ps scale %s %s takes that", strings.Join(other, " "), d.release.App, strings.Join(back, " "))
	}
}

// fileSays is what the app's files say of a process type that is scaled by hand; "" where they say nothing, or the same.
func fileSays(settings *project.Descriptor, s deploy.Scale) string {
	file := deploy.Scale{Type: s.Type}
	switch w, n := settings.Web, settings.Processes[s.Type].Instances; {
	case s.Type == webProcess && (w.MinScaleSaid || w.MaxScaleSaid):
		file.Min, file.Max = w.MinScale, w.MaxScale
	case s.Type != webProcess && n != nil:
		file.Min, file.Max = *n, *n
	default:
		return ""
	}
	if file.String() == s.String() {
		return ""
	}
	return file.String()
}

// inPlace takes a change live that keeps the revision: only the numbers of its workers are others.
func (d *deployment) inPlace(ctx context.Context, from app.Release, service *servingv1.Service) error {
	if err := d.begins(ctx, service); err != nil {
		return err
	}
	before, err := d.m.service(ctx, from)
	if err != nil {
		return err
	}
	if err := deploy.ScaleWorkers(ctx, d.m.o.Platform, before, service, d.log); err != nil {
		return err
	}
	for _, s := range []app.State{app.StateShifting, app.StateLive} {
		if err := d.to(context.WithoutCancel(ctx), store.Event{State: s}); err != nil {
			return err
		}
	}
	d.log.Detail("%s runs %s", d.release.App, strings.Join(scales(service), " "))
	return nil
}

// scales are the numbers of instances of all process types of a Service that run.
func scales(service *servingv1.Service) []string {
	var all []string
	if !deploy.WithoutWeb(&service.Spec.Template) {
		all = append(all, deploy.WebScale(service).String())
	}
	for _, w := range deploy.Workers(service) {
		all = append(all, deploy.Scale{Type: w.Type, Min: w.Instances}.String())
	}
	return all
}
