package deploy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// WebProcess is the process type that receives the requests.
const WebProcess = "web"

// The annotations that say how many instances there are.
const (
	// scaleAnnotation of a Service has what was set by hand, as ScaleOf reads it: "web=1..10,worker=2". It is not part of the template: another
	// number of workers does not take another revision.
	scaleAnnotation = "gitd.io/scale"
	// webScaleAnnotation of a template has what the app's own files say of web, "0..10", while something else was set by hand.
	webScaleAnnotation = "gitd.io/web-scale"
)

// Scale is how many instances of a process type there are: from Min to Max of web, by its requests; Min of a worker.
type Scale struct {
	Type string
	Min  int64
	Max  int64 // of web: 0 for no bound
}

// String writes a Scale as ParseScale reads it.
func (s Scale) String() string {
	n := strconv.FormatInt(s.Min, 10)
	switch {
	case s.Type != WebProcess || s.Min == s.Max && s.Min > 0:
		return s.Type + "=" + n
	case s.Max == 0:
		return s.Type + "=" + n + ".."
	}
	return s.Type + "=" + n + ".." + strconv.FormatInt(s.Max, 10)
}

// ScaleOf returns what was set by hand for a Service, by type.
func ScaleOf(s *servingv1.Service) []Scale {
	var all []Scale
	for entry := range strings.SplitSeq(s.Annotations[scaleAnnotation], ",") {
		t, number, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		all = append(all, scaleOf(t, number))
	}
	return all
}

// scaleOf reads "2", "1..10" and "0..".
func scaleOf(t, number string) Scale {
	low, high, between := strings.Cut(number, "..")
	s := Scale{Type: t}
	s.Min, _ = strconv.ParseInt(low, 10, 64)
	if s.Max, _ = strconv.ParseInt(high, 10, 64); !between {
		s.Max = s.Min
	}
	return s
}

// SetScale records what was set by hand for a Service, in place of what was before, and has the template follow it: that of web is in the
// template. It reports whether the template has changed, so that it takes another revision.
func SetScale(s *servingv1.Service, all []Scale) (changed bool) {
	all = slices.SortedFunc(slices.Values(all), func(a, b Scale) int { return cmp.Compare(a.Type, b.Type) })
	entries := make([]string, len(all))
	web := FileScale(s)
	for i, e := range all {
		if entries[i] = e.String(); e.Type == WebProcess {
			web = e
		}
	}
	if delete(s.Annotations, scaleAnnotation); len(entries) > 0 {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[scaleAnnotation] = strings.Join(entries, ",")
	}
	if web == WebScale(s) {
		return false
	}
	file, a := FileScale(s), s.Spec.Template.Annotations
	if a == nil {
		a = map[string]string{}
		s.Spec.Template.Annotations = a
	}
	a[autoscaling.MinScaleAnnotationKey] = strconv.FormatInt(web.Min, 10)
	a[autoscaling.MaxScaleAnnotationKey] = strconv.FormatInt(web.Max, 10)
	a[webScaleAnnotation] = strconv.FormatInt(file.Min, 10) + ".." + strconv.FormatInt(file.Max, 10)
	return true
}

// WebScale is how many instances of web a Service has.
func WebScale(s *servingv1.Service) Scale {
	a := s.Spec.Template.Annotations
	w := Scale{Type: WebProcess}
	w.Min, _ = strconv.ParseInt(a[autoscaling.MinScaleAnnotationKey], 10, 64)
	w.Max, _ = strconv.ParseInt(a[autoscaling.MaxScaleAnnotationKey], 10, 64)
	return w
}

// FileScale is how many instances of web the app's own files ask for.
func FileScale(s *servingv1.Service) Scale {
	if text := s.Spec.Template.Annotations[webScaleAnnotation]; text != "" {
		return scaleOf(WebProcess, text)
	}
	return WebScale(s)
}
