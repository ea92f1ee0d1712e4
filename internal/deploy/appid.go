package deploy

import (
	"strconv"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// AppIDAnnotation holds an app's ID, on the Service. An ID is never used again; a name may come back as another app.
const AppIDAnnotation = "gitd.io/app-id"

// SetAppID sets the app's ID on a Service. It leaves the template alone, since an existing revision does not change.
func SetAppID(s *servingv1.Service, id int64) {
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[AppIDAnnotation] = strconv.FormatInt(id, 10)
}

// AppID returns the app's ID from a Service; 0 where it has none.
func AppID(s *servingv1.Service) int64 {
	id, err := strconv.ParseInt(s.Annotations[AppIDAnnotation], 10, 64)
	if err != nil || id < 0 {
		return 0
	}
	return id
}
