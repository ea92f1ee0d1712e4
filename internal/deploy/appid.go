package deploy

import (
	"strconv"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// AppIDAnnotation holds an app's ID, on the Service. Apps and IDs belong together for ever; a name may come back as another app.
const AppIDAnnotation = "gitd.io/app-id"

// SetAppID notes the app's ID on a Service. The template is left alone, since a revision that exists does not change.
func SetAppID(s *servingv1.Service, id int64) {
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[AppIDAnnotation] = strconv.FormatInt(id, 10)
}

// AppID returns the app's ID that a Service holds; 0 where it holds none.
func AppID(s *servingv1.Service) int64 {
	id, err := strconv.ParseInt(s.Annotations[AppIDAnnotation], 10, 64)
	if err != nil || id < 0 {
		return 0
	}
	return id
}
