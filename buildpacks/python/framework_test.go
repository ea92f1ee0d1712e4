package python

import (
	"bytes"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/internal/function/functiontest"
)

// What the Functions Framework's conformance suite asks, of functions of each type that it has: declared ones of the framework of the app's requirements, and one of before CloudEvents.
func TestFunction_Framework(t *testing.T) {
	const declared = `import json, time
import functions_framework
def write(v):
    text = json.dumps(v)
    if '"hello"' in text or 'nowhere.com' in text:
        time.sleep(1)
    with open('function_output.json', 'w') as f:
        f.write(text)
`
	out := &bytes.Buffer{}
	bp := pack(t, out)
	for _, tt := range []struct{ kind, source, settings string }{
		{"http", "@functions_framework.http\ndef handle(request):\n    write(request.get_json(silent=True))\n    return 'ok'\n", ""},
		{"typed", "class Any:\n    def __init__(self, v): self.v = v\n    @staticmethod\n    def from_dict(v): return Any(v)\n    def to_dict(self): return self.v\n@functions_framework.typed(Any)\ndef handle(x):\n    write(x.v)\n    return Any({'payload': x.v})\n", ""},
		{"cloudevent", "@functions_framework.cloud_event\ndef handle(event):\n    e = dict(event.get_attributes())\n    if e['id'].startswith('a-') and e['id'] != 'a-1': del e['time']\n    write({**e, 'data': event.data})\n", ""},
		{"legacyevent", "def handle(data, context):\n    write({'data': data, 'context': {'event_id': context.event_id, 'timestamp': context.timestamp, 'event_type': context.event_type, 'resource': context.resource}})\n", `{"target":"handle","signature":"event"}`},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			r := bptest.New(t, catalog.Python)
			if tt.settings != "" {
				r.Env[catalog.FunctionVariable] = tt.settings
			}
			s := bptest.Function(t, r, bp, out, map[string]string{"requirements.txt": "functions-framework==3.10.2\n", "main.py": declared + tt.source}, "main.py")(declared + tt.source).Ready()
			defer s.Stop()
			functiontest.Framework(t, tt.kind, s.URL, s.Command())
		})
	}
}
