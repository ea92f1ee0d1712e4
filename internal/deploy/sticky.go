package deploy

import servingv1 "knative.dev/serving/pkg/apis/serving/v1"

// stickyAnnotation of a Service says that a client stays with the revision that it came to first.
const stickyAnnotation = "gitd.io/sticky"

// SetSticky sets whether a client of a Service stays, by a cookie, with the revision that it came to first.
func SetSticky(s *servingv1.Service, yes bool) {
	if !yes {
		delete(s.Annotations, stickyAnnotation)
		return
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[stickyAnnotation] = "cookie"
}

// Sticky reports whether a client of a Service stays with the revision that it came to first.
func Sticky(s *servingv1.Service) bool { return s.Annotations[stickyAnnotation] != "" }
