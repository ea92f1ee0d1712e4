package local

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox/output"
)

// Lines of all instances come by their time, those of an earlier gitd, which have none, by the start of their instance.
func TestLogs(t *testing.T) {
	p := &Platform{opts: Options{Dir: t.TempDir(), Log: t.Logf}.withDefaults(), ctx: t.Context(), services: map[string]*service{"app": {object: &servingv1.Service{}}}}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	write := func(revision, short string, began float64, lines ...string) {
		t.Helper()
		file := filepath.Join(p.logDir("app", revision), logName(at(began), short))
		if err := makeLog(file); err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			var s float64
			var text string
			if _, err := fmt.Sscanf(l, "%g %s", &s, &text); err != nil {
				t.Fatal(err)
			}
			if err := output.Append(file, at(s), text); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("app-v1", "aaaaa", 0, "0 a0", "2 a2", "8 a8")
	write("app-v1", "bbbbb", 1, "1.5 b1", "2 b2", "9 b9")
	write("app-v2", "worker.1", 5, "6 w6")
	old := filepath.Join(p.logDir("app", "app-v0"), logName(at(1.2), "ccccc"))
	if err := makeLog(old); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("c1\nc2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(`
2026-01-02T03:04:05.000Z [app-v1 aaaaa] a0
[app-v0 ccccc] c1
[app-v0 ccccc] c2
2026-01-02T03:04:06.500Z [app-v1 bbbbb] b1
2026-01-02T03:04:07.000Z [app-v1 aaaaa] a2
2026-01-02T03:04:07.000Z [app-v1 bbbbb] b2
2026-01-02T03:04:11.000Z [app-v2 worker.1] w6
2026-01-02T03:04:13.000Z [app-v1 aaaaa] a8
2026-01-02T03:04:14.000Z [app-v1 bbbbb] b9`), "\n")
	for tail := range len(all) + 2 {
		var b bytes.Buffer
		if err := p.Logs(t.Context(), "app", deploy.LogOptions{Tail: tail}, &b); err != nil {
			t.Fatal(err)
		}
		want := all
		if tail > 0 {
			want = all[max(0, len(all)-tail):]
		}
		if got := strings.Split(strings.TrimSpace(b.String()), "\n"); !slices.Equal(got, want) {
			t.Errorf("tail %d: %s", tail, b.String())
		}
	}
}
