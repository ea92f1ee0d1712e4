package contract

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// http2 rolls out an app that speaks HTTP/2 without TLS and nothing else, which the name of its port says; its check and its users' requests reach it.
func (s *suite) http2(t *testing.T) {
	svc := s.service("protocol", "v1", "PROTOCOL=h2c")
	svc.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, Name: "h2c"}}
	s.mustRoll(t, svc)
	s.want(t, "protocol", "/", "v1")
	s.want(t, "protocol", "/protocol", "HTTP/2.0")
}
