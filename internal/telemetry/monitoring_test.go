package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The table of docs/monitoring.md is made of the declarations. GITD_TEST_UPDATE=1 writes it.
func TestDocumentation(t *testing.T) {
	const page, begin, end = "../../docs/monitoring.md", "<!-- metrics -->\n", "<!-- end -->\n"
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range NewMetrics().All() {
		labels := ""
		for _, l := range m.Labels {
			labels += " `" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s |%s | %s |\n", m.Name, m.Type, labels, m.Help)
	}
	is, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(is), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + begin + b.String() + end + after
	if os.Getenv("GITD_TEST_UPDATE") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(is) {
		t.Error("docs/monitoring.md is not up to date: GITD_TEST_UPDATE=1 go test ./internal/telemetry")
	}
}

const monitoring = "../../config/monitoring"

// expressions are all queries of the dashboard and the rules, by where they are, with the names that the rules record.
func expressions(t *testing.T) (all map[string]string, recorded []string) {
	all = map[string]string{}
	b, err := os.ReadFile(filepath.Join(monitoring, "gitd.dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			for _, k := range []string{"expr", "definition"} {
				if e, ok := x[k].(string); ok {
					all["the dashboard: "+e] = e
				}
			}
			for _, inner := range x {
				walk(inner)
			}
		case []any:
			for _, inner := range x {
				walk(inner)
			}
		}
	}
	walk(dashboard)
	if len(all) < 40 {
		t.Fatalf("the dashboard has %d queries", len(all))
	}
	if b, err = os.ReadFile(filepath.Join(monitoring, "gitd.rules.yml")); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Record, Alert, Expr string
				Annotations         struct{ Summary, Action string }
			}
		}
	}
	if err := yaml.Unmarshal(b, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["the rule "+r.Record+r.Alert] = r.Expr
			if r.Record != "" {
				recorded = append(recorded, r.Record)
			}
			if r.Alert != "" && (r.Annotations.Summary == "" || r.Annotations.Action == "") {
				t.Errorf("the alert %s does not say what is wrong and what to do", r.Alert)
			}
		}
	}
	return all, recorded
}

var (
	metricName  = regexp.MustCompile(`\b(gitd|go|process)_[a-z0-9_]+`)
	recordName  = regexp.MustCompile(`\bgitd:[a-z0-9_:]+`)
	selectorOf  = regexp.MustCompile(`((?:gitd|go|process)_[a-z0-9_]+)\{([^}]*)\}`)
	matcherName = regexp.MustCompile(`(?:^|,)\s*([a-z_]+)\s*[=!]~?`)
	groupedBy   = regexp.MustCompile(`\b(?:by|without) \(([^)]*)\)`)
)

// Every metric and label that the dashboard and the rules name is one that the endpoint has.
func TestMonitoringNames(t *testing.T) {
	known := map[string][]string{}
	labels := map[string]bool{"le": true}
	for _, m := range NewMetrics().All() {
		names := []string{m.Name}
		if m.Type == TypeHistogram {
			names = []string{m.Name, m.Name + "_bucket", m.Name + "_sum", m.Name + "_count"}
		}
		for _, n := range names {
			known[n] = append(slices.Clone(m.Labels), "job", "instance", "le")
		}
		for _, l := range m.Labels {
			labels[l] = true
		}
	}
	all, recorded := expressions(t)
	used := map[string]bool{}
	for _, where := range slices.Sorted(maps.Keys(all)) {
		e := all[where]
		for _, name := range metricName.FindAllString(e, -1) {
			used[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
			if known[name] == nil {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
		for _, name := range recordName.FindAllString(e, -1) {
			if !slices.Contains(recorded, name) {
				t.Errorf("%s: no rule records %s", where, name)
			}
		}
		for _, s := range selectorOf.FindAllStringSubmatch(e, -1) {
			for _, m := range matcherName.FindAllStringSubmatch(s[2], -1) {
				if !slices.Contains(known[s[1]], m[1]) {
					t.Errorf("%s: %s has no label %s", where, s[1], m[1])
				}
			}
		}
		for _, g := range groupedBy.FindAllStringSubmatch(e, -1) {
			for l := range strings.SplitSeq(g[1], ",") {
				if !labels[strings.TrimSpace(l)] {
					t.Errorf("%s: there is no label %s", where, l)
				}
			}
		}
	}
	for _, m := range NewMetrics().All() { // a metric that is in no dashboard and no rule is not worth its series
		if strings.HasPrefix(m.Name, "gitd_") && !used[m.Name] {
			t.Errorf("neither the dashboard nor a rule shows %s", m.Name)
		}
	}
}

// The rules are Prometheus', and do what they say. make test installs promtool with Prometheus.
func TestRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "gitd.rules.yml"}, {"test", "rules", "gitd.rules.test.yml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
