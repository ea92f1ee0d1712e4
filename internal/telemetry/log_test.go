package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestLog(t *testing.T) {
	m := NewMetrics()
	var b bytes.Buffer
	write := func(inJSON bool) {
		b.Reset()
		l := NewLog(&b, inJSON, m.Host.Log)
		print := Printf(l)
		print("deploy: %s: %v", "shop-v1", errors.New("it failed"), slog.String(LogTrace, "abc"), slog.String("none", ""))
		print("100%% of %d", 3, slog.LevelError)
		app.NewLog(Steps(l)).Step("Ready: ssh on %s", "1.2.3.4:22")
	}
	write(false)
	if want := regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d deploy: shop-v1: it failed\n\S+ \S+ 100% of 3\n\S+ \S+ Ready: ssh on 1.2.3.4:22\n$`); !want.MatchString(b.String()) {
		t.Errorf("%q", b.String())
	}
	write(true)
	for _, want := range []map[string]string{
		{"level": "WARN", "msg": "deploy: shop-v1: it failed", "part": "deploy", "trace_id": "abc"}, {"level": "ERROR", "msg": "100% of 3"}, {"level": "INFO", "msg": "Ready: ssh on 1.2.3.4:22"},
	} {
		line, err := b.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if delete(got, "time"); len(got) != len(want) {
			t.Errorf("%v", got)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %q, not %q", k, got[k], v)
			}
		}
	}
	if n := m.Host.Log.Of("warn").Load(); n != 2 {
		t.Errorf("%d warnings", n)
	}
}
