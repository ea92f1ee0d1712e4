package project

import (
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

func TestRollout(t *testing.T) {
	d, err := Parse("[io.gitd.rollout]\nstrategy = \"canary\"\npercent = 5\nduration = \"5m\"\nmin-requests = 200\nmax-error-rate = 0.5\nmax-latency = 1.5\nquantile = \"p99\"\nsticky = \"cookie\"\nfew-requests = \"abort\"\n")
	want := Rollout{Strategy: app.Canary, Percent: 5, Duration: 5 * time.Minute, Interval: 10 * time.Second, MinRequests: 200, MaxErrorRate: 0.5, MaxLatency: 1.5, Quantile: 0.99, Sticky: true, Strict: true}
	if err != nil || d.Rollout != want {
		t.Errorf("%+v, %v", d.Rollout, err)
	}
	for text, want := range map[string]string{
		"":                                       app.AtOnce,
		"[io.gitd.web]\ntraffic-steps = [10]\n":  app.Steps,
		"[io.gitd.rollout]\nstrategy=\"canary\"": app.Canary,
		"[io.gitd.web]\ntraffic-steps = [10]\n[io.gitd.rollout]\nstrategy=\"at-once\"": app.AtOnce,
	} {
		if d, err := Parse(text); err != nil || d.Rollout.Strategy != want {
			t.Errorf("%q: %q, %v", text, d.Rollout.Strategy, err)
		}
	}
	for text, want := range map[string]string{
		`strategy = "slowly"`:                          `strategy: "slowly" is not one of`,
		`strategy = "steps"`:                           `"steps" needs the steps`,
		`percent = 5`:                                  `add strategy = "canary"`,
		"strategy = \"canary\"\npercent = 0":           "io.gitd.rollout.percent: 0 is not between 1 and 99",
		"strategy = \"canary\"\npercent = 100":         "percent: 100 is not between",
		"strategy = \"canary\"\nduration = \"1d\"":     `io.gitd.rollout.duration: "1d" is not a time`,
		"strategy = \"canary\"\ninterval = \"1ms\"":    "interval: 1ms is not between",
		"strategy = \"canary\"\nmin-requests = 0":      "min-requests: 0 is not between",
		"strategy = \"canary\"\nmax-error-rate = -1.0": "max-error-rate: -1 is not between",
		"strategy = \"canary\"\nmax-error-rate = nan":  "max-error-rate: NaN is not between",
		"strategy = \"canary\"\nmax-latency = 0.5":     "max-latency: 0.5 is below 1",
		"strategy = \"canary\"\nquantile = \"p100\"":   "quantile: \"p100\" is not one of",
		"strategy = \"canary\"\nsticky = \"ip\"":       "sticky: \"ip\" is not one of",
		"strategy = \"canary\"\nfew-requests = \"x\"":  "few-requests: \"x\" is not one of",
		"strategy = \"canary\"\nspeed = 1":             "unknown setting io.gitd.rollout.speed",
	} {
		if _, err := Parse("[io.gitd.rollout]\n" + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestAsk(t *testing.T) {
	d, err := Parse("[io.gitd.rollout]\nstrategy = \"canary\"\nduration = \"5m\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ask(app.Rollout{}); err != nil || d.Rollout.Strategy != app.Canary || d.Rollout.Percent != 10 {
		t.Errorf("%+v, %v", d.Rollout, err)
	}
	if err := d.Ask(app.Rollout{Strategy: app.Canary, Percent: 3}); err != nil || d.Rollout.Percent != 3 || d.Rollout.Duration != 5*time.Minute {
		t.Errorf("%+v, %v", d.Rollout, err)
	}
	if err := d.Ask(app.Rollout{Strategy: app.Steps, Steps: []int64{5, 50}}); err != nil || d.Rollout.Strategy != app.Steps || len(d.Web.Steps) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	if err := d.Ask(app.Rollout{Strategy: app.Steps, Steps: []int64{50, 5}}); err == nil {
		t.Error("steps that fall are accepted")
	}
}

func TestReleaseMaintenance(t *testing.T) {
	for text, want := range map[string]Release{
		"":                                      {},
		`maintenance = "off"`:                   {},
		`maintenance = "page"`:                  {Maintenance: true},
		`maintenance = "hold"`:                  {Maintenance: true, Hold: 30 * time.Second},
		"maintenance = \"hold\"\nhold = \"2m\"": {Maintenance: true, Hold: 2 * time.Minute},
	} {
		if d, err := Parse("[io.gitd.release]\n" + text); err != nil || d.Release != want {
			t.Errorf("%q: %+v, %v", text, d.Release, err)
		}
	}
	for text, want := range map[string]string{
		`maintenance = "yes"`:                    `io.gitd.release.maintenance: "yes" is not one of ["off" "page" "hold"]`,
		`hold = "30s"`:                           "io.gitd.release.hold: it goes with maintenance",
		"maintenance = \"hold\"\nhold = \"1h\"":  "io.gitd.release.hold: 1h is not between 1s and 5m",
		"maintenance = \"page\"\nhold = \"30s\"": "it goes with maintenance",
	} {
		if _, err := Parse("[io.gitd.release]\n" + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
