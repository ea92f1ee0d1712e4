package contract

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// http2: an app that speaks only HTTP/2 without TLS, by the name of its port, gets its health check and its users' requests.
func (s *suite) http2(t *testing.T) {
	svc := s.service("protocol", "v1", "PROTOCOL=h2c")
	svc.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, Name: "h2c"}}
	s.mustRoll(t, svc)
	s.want(t, "protocol", "/", "v1")
	s.want(t, "protocol", "/protocol", "HTTP/2.0")
}
