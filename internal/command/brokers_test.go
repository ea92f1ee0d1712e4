package command

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/operation"
)

// Filters and events are shown as they were written, and not as JSON within HTML.
func TestPlainJSON(t *testing.T) {
	var out strings.Builder
	if err := printTriggers(&out, []operation.Trigger{{Name: "orders", Filters: []byte(`[{"cesql":"n \u003e 3 AND a \u003c\u003e 'x\u0026y' AND b = '\\u003e'"}]`)}}); err != nil {
		t.Fatal(err)
	}
	if want := `[{"cesql":"n > 3 AND a <> 'x&y' AND b = '\\u003e'"}]`; !strings.Contains(out.String(), want) {
		t.Errorf("it lacks %s: %s", want, out.String())
	}
	out.Reset()
	if err := printEvent(&out, operation.Event{Event: []byte(`{"data":"\u003ca\u003e"}`)}); err != nil || !strings.Contains(out.String(), `  "data": "<a>"`) {
		t.Errorf("%v: %s", err, out.String())
	}
}
