package maker

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/wire"
)

// What fails reaches gitd as it is: an error for people with its code and what to do next, a defect with its text.
func TestServeFails(t *testing.T) {
	t.Setenv("GITD_PARTS", t.TempDir())
	for request, want := range map[string]wire.Failed{
		`{"Cache": "` + t.TempDir() + `"}`: {Code: app.CodeUnavailable, Message: "is missing", Next: "run make build"},
		`{"Cache": 3}`:                     {Code: app.CodeInternal, Message: "json: cannot unmarshal"},
		``:                                 {Code: app.CodeInternal, Message: "EOF"},
	} {
		r, w := io.Pipe()
		go func() {
			if status := Serve(t.Context(), strings.NewReader(request), w); status != 1 {
				t.Errorf("status %d", status)
			}
			w.Close()
		}()
		var got wire.Reply
		if err := json.NewDecoder(r).Decode(&got); err != nil || got.Failed == nil {
			t.Fatalf("%+v, %v", got, err)
		}
		if f := got.Failed; f.Code != want.Code || !strings.Contains(f.Message, want.Message) || !strings.Contains(f.Next, want.Next) {
			t.Errorf("%s: %+v, want %+v", request, f, want)
		}
		_, _ = io.Copy(io.Discard, r)
	}
}
