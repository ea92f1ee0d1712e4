package knative

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLastWords: the lines are those of the container that ended, also where the node starts it again before its log is read.
func TestLastWords(t *testing.T) {
	tests := []struct {
		name              string
		terminated        bool
		restarts          int32 // as the platform knows the Pod
		now               int32 // as the cluster does
		current, previous string
		want              string
	}{
		{"it has ended", true, 0, 0, "the end\n", "", "the end"},
		{"it was started again before", false, 1, 1, "starts\n", "the end\n", "the end"},
		{"it is started again meanwhile", true, 0, 1, "starts\n", "the end\n", "the end"},
		{"the log of the one before is gone", false, 1, 1, "starts\n", "", "starts"},
		{"nothing was written", true, 0, 0, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := platformOn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/log") && r.URL.Query().Get("previous") == "true":
					_, _ = io.WriteString(w, stampedLines(tt.previous))
				case strings.HasSuffix(r.URL.Path, "/log"):
					_, _ = io.WriteString(w, stampedLines(tt.current))
				default:
					w.Header().Set("Content-Type", "application/json")
					_, _ = fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "status": {"containerStatuses": [{"name": %q, "restartCount": %d}]}}`, container, tt.now)
				}
			}))
			state := corev1.ContainerStatus{Name: container, RestartCount: tt.restarts}
			if tt.terminated {
				state.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 3}
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{state}}}
			if got := strings.Join(p.lastWords(t.Context(), pod), "|"); got != tt.want {
				t.Errorf("last words %q, want %q", got, tt.want)
			}
		})
	}
}

// stampedLines are lines as the kubelet hands them out.
func stampedLines(text string) (out string) {
	for line := range strings.Lines(text) {
		out += "2026-01-31T09:30:00.123456789Z " + line
	}
	return out
}
