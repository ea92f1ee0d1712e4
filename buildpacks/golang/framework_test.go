package golang

import (
	"maps"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/function/functiontest"
)

// writesAll is what the functions of TestFunction_Framework do with what they get.
const writesAll = `package hello

import (
	"bytes"
	"encoding/json"
	"os"
	"time"
)

func write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if bytes.Contains(text, []byte("\"hello\"")) || bytes.Contains(text, []byte("nowhere.com")) {
		time.Sleep(time.Second)
	}
	return os.WriteFile("function_output.json", text, 0o644)
}
`

// What the Functions Framework's conformance suite asks, of functions of each type that it has: registered ones, and one of before CloudEvents.
func TestFunction_Framework(t *testing.T) {
	b, out := toolchain(t)
	r := bptest.New(t, catalog.Go)
	const registered = "package hello\n\nimport (\n\t\"context\"\n\t\"encoding/json\"\n\t\"net/http\"\n\n\t\"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\n\tcloudevents \"github.com/cloudevents/sdk-go/v2\"\n)\n\nvar _ context.Context\nvar _ json.Decoder\nvar _ http.Handler\nvar _ cloudevents.Event\n\nfunc init() "
	// Neighbours differ in their signature: of the same one, the layer that says what is served would be the last build's, which is not here.
	for _, tt := range []struct{ kind, source string }{
		{"http", registered + "{\n\tfunctions.HTTP(\"Hello\", func(w http.ResponseWriter, r *http.Request) {\n\t\tvar v any\n\t\t_ = json.NewDecoder(r.Body).Decode(&v)\n\t\tif err := write(v); err != nil {\n\t\t\tpanic(err)\n\t\t}\n\t})\n}\n"},
		{"cloudevent", registered + "{\n\tfunctions.CloudEvent(\"Hello\", func(_ context.Context, e cloudevents.Event) error { return write(e) })\n}\n"},
		{"typed", registered + "{\n\tfunctions.Typed(\"Hello\", func(in map[string]any) (map[string]any, error) {\n\t\treturn map[string]any{\"payload\": in}, write(in)\n\t})\n}\n"},
		{"legacyevent", "package hello\n\nimport (\n\t\"context\"\n\n\t\"cloud.google.com/go/functions/metadata\"\n)\n\nfunc Hello(ctx context.Context, data map[string]any) error {\n\tm, err := metadata.FromContext(ctx)\n\tif err != nil {\n\t\treturn err\n\t}\n\tvar resource any = m.Resource.RawPath\n\tif resource == \"\" {\n\t\tresource = map[string]string{\"service\": m.Resource.Service, \"name\": m.Resource.Name, \"type\": m.Resource.Type}\n\t}\n\treturn write(map[string]any{\"data\": data, \"context\": map[string]any{\"eventId\": m.EventID, \"timestamp\": m.Timestamp, \"eventType\": m.EventType, \"resource\": resource}})\n}\n"},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			files := map[string]string{"go.mod": framework + "require (\n\tgithub.com/cloudevents/sdk-go/v2 v2.15.2\n\tcloud.google.com/go/functions v1.19.3\n)\n", "write.go": writesAll, "f.go": tt.source}
			delete(r.Env, catalog.FunctionVariable)
			if tt.kind == "legacyevent" {
				maps.Copy(r.Env, settings(t, function.Settings{Target: "Hello", Signature: function.Event}))
			}
			built, err := r.Build(b, files)
			if err != nil {
				t.Fatalf("%s\n%s", kit.Line(err), out)
			}
			s := bptest.Start(t, r, built).Ready()
			defer s.Stop()
			functiontest.Framework(t, tt.kind, s.URL, s.Command())
		})
	}
}
