package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPodLog reads a log over connections that break, as the kubelet gives it: since a whole second.
func TestPodLog(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	lines := []string{
		"2026-01-01T00:00:01.100000000Z one", "2026-01-01T00:00:01.100000000Z two", "2026-01-01T00:00:01.100000000Z two", "2026-01-01T00:00:01.200000000Z ",
		"2026-01-01T00:00:02.000000000Z " + long, "2026-01-01T00:00:03.000000000Z a line with words", "2026-01-01T00:00:03.000000000Z last",
	}
	all := strings.Join(lines, "\n") + "\n"
	for cut := 0; cut <= len(all); cut += 1 + len(all)/17*boolean(cut > 300) {
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			requests++
			since := q.URL.Query().Get("sinceTime")
			var text strings.Builder
			for _, l := range lines {
				if since == "" || l[:20] >= strings.TrimSuffix(since, "Z")+"." {
					text.WriteString(l + "\n")
				}
			}
			s := text.String()
			if requests == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(s)+1)) // the connection breaks
				s = s[:cut]
			}
			_, _ = w.Write([]byte(s))
		}))
		config := filepath.Join(t.TempDir(), "config")
		text := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}], clusters: [{name: a, cluster: {server: %q}}]}", server.URL)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Open(config, "")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		l := &PodLog{Client: c, Namespace: "n", Pod: "p", Container: "c"}
		for requests < 2 {
			_ = l.Read(context.Background(), requests == 0, func(s string) { got = append(got, s) })
		}
		server.Close()
		joined := strings.ReplaceAll(strings.Join(got, "|"), "x", "")
		if n := strings.Count(strings.Join(got, ""), "x"); joined != "one|two|two||||a line with words|last" && joined != "one|two|two|||a line with words|last" || n < len(long) {
			t.Fatalf("cut at %d: %q, %d", cut, joined, n)
		}
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
