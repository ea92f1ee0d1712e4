package project

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestParse_config(t *testing.T) {
	d, err := Parse(`[io.gitd.config]
B = { required = true, description = "what\nit is" }
A = { default = "" }
C = { generate = "hex16" }
[io.gitd.config.D]
`)
	want := []Declared{{Name: "A", HasDefault: true}, {Name: "B", Required: true, Description: "what it is"}, {Name: "C", Generate: 16}, {Name: "D"}}
	if err != nil || !slices.Equal(d.Config, want) {
		t.Errorf("%+v, %v", d.Config, err)
	}
	many := "[io.gitd.config]\n"
	for i := range maxDeclared + 1 {
		many += fmt.Sprintf("V%d = {}\n", i)
	}
	for text, says := range map[string]string{
		"[io.gitd.config]\nPORT = {}":                                     "set by the platform",
		"[io.gitd.config]\nK_SERVICE = {}":                                "set by the platform",
		"[io.gitd.config]\n\"a-b\" = {}":                                  "cannot be the name",
		"[io.gitd.config]\nA = { required = true, default = \"x\" }":      "exclude one another",
		"[io.gitd.config]\nA = { default = \"x\", generate = \"hex32\" }": "exclude one another",
		"[io.gitd.config]\nA = { generate = \"secret\" }":                 "is not possible",
		"[io.gitd.config]\nA = { generate = \"hex1\" }":                   "is not possible",
		"[io.gitd.config]\nA = { generate = \"hex999999999999999999\" }":  "is not possible",
		"[io.gitd.config]\nA = { value = \"x\" }":                         "unknown setting",
		"[io.gitd.config]\nA = \"x\"":                                     "type mismatch",
		"[io.gitd.config]\nA = {}\n[io.gitd.web.env]\nA = \"x\"":          "keep one of them",
		many: "at most 200",
	} {
		if _, err := Parse(text); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", app.Clip(text, 80), err)
		}
	}
}
