package project

import (
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

func TestPreviews(t *testing.T) {
	d, err := Parse("")
	if err != nil || !d.Previews.Makes("feature/x") || d.Previews.TTL != 7*24*time.Hour || d.Previews.Workers {
		t.Errorf("the defaults: %+v, %v", d.Previews, err)
	}
	d, err = Parse("[io.gitd.previews]\nbranches = [\"feature/*\", \"review-?\"]\nttl = \"12h\"\nlimit = 3\nworkers = true\n[io.gitd.previews.env]\nA = \"1\"\n")
	p := d.Previews
	if err != nil || p.TTL != 12*time.Hour || p.Limit != 3 || !p.Workers || p.Env["A"] != "1" {
		t.Errorf("%+v, %v", p, err)
	}
	for branch, want := range map[string]bool{"feature/x": true, "feature/x/y": true, "review-1": true, "review-12": false, "feature": false, "x": false} {
		if p.Makes(branch) != want {
			t.Errorf("%s: %v", branch, !want)
		}
	}
	if d, err = Parse("[io.gitd.previews]\nbranches = []\n"); err != nil || d.Previews.Makes("x") {
		t.Errorf("none: %v", err)
	}
	for text, want := range map[string]string{
		"branches = [\"[\"]": "is not a pattern", "branches = [\"\"]": "is not a pattern", "branches = [" + strings.Repeat("\"x\",", 51) + "]": "51 patterns",
		"ttl = \"7\"": "is not a time", "ttl = \"1m\"": "is not a time", "ttl = \"366d\"": "is not a time", "ttl = \"-1d\"": "is not a time", "limit = 0": "not between", "limit = 1001": "not between",
		"env = { PORT = \"1\" }": "set by the platform", "env = { \"a b\" = \"1\" }": "cannot be the name", "unknown = 1": "unknown setting",
	} {
		if _, err := Parse("[io.gitd.previews]\n" + text + "\n"); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
