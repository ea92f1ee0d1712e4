package event

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/gitd-io/gitd/internal/annotation"
	"github.com/gitd-io/gitd/internal/app"
)

// triggersAnnotation of a Service's template has the triggers, as JSON.
const triggersAnnotation = "gitd.io/triggers"

// MostTriggers is how many triggers an app may have.
const MostTriggers = 50

// DefaultBroker is the broker that is always there.
const DefaultBroker = "default"

// Host is the label before the domain under which brokers take events over HTTP.
const Host = app.Brokers

// SinkVariable is the variable of an instance's environment that has the URL of the broker: apps POST events to it.
const SinkVariable = "K_SINK"

// Trigger sends the events of a broker that pass its filters to an app. It belongs to a release: it goes live with it, and is rolled back with it.
type Trigger struct {
	Name     string   `json:"name"`
	Broker   string   `json:"broker"`
	Filters  []Filter `json:"filters,omitempty"` // all of which an event must pass
	Path     string   `json:"path"`              // of the app: "/orders"
	Delivery Delivery `json:"delivery"`
}

// SetTriggers keeps triggers in the annotations of a template.
func SetTriggers(annotations map[string]string, all []Trigger) error {
	return annotation.Set(annotations, triggersAnnotation, all)
}

// TriggersOf returns the triggers in the annotations of a template.
func TriggersOf(annotations map[string]string) ([]Trigger, error) {
	return annotation.Of[Trigger](annotations, triggersAnnotation)
}

// Check says what is wrong with a trigger, in words.
func (t *Trigger) Check() error {
	if err := CheckName(t.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if err := CheckName(t.Broker); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if u, err := url.ParseRequestURI(t.Path); err != nil || u.Host != "" || !strings.HasPrefix(t.Path, "/") || strings.HasPrefix(t.Path, "//") || u.Fragment != "" || len(t.Path) > maxText {
		return fmt.Errorf("path is that of a URL, such as \"/orders\", not %q", app.Clip(t.Path, 60))
	}
	d := &t.Delivery
	switch {
	case d.Retry < 0 || d.Retry > MaxRetry:
		return fmt.Errorf("retry is from 0 to %d", MaxRetry)
	case d.Policy != Linear && d.Policy != Exponential:
		return fmt.Errorf("backoff-policy is %q or %q, not %q", Linear, Exponential, app.Clip(string(d.Policy), 30))
	case d.Delay < 0 || d.Delay > MaxPause:
		return fmt.Errorf("backoff-delay is from PT0S to %s", FormatDuration(MaxPause))
	case d.Timeout < 0 || d.Timeout > MaxTimeout:
		return fmt.Errorf("timeout is from PT0S to %s", FormatDuration(MaxTimeout))
	}
	if d.DeadLetter != "" {
		if _, err := ParseSink(d.DeadLetter); err != nil {
			return fmt.Errorf("dead-letter: %w", err)
		}
	}
	_, err := Compile(t.Filters)
	return err
}

// CheckName says what is wrong with the name of a broker or of a trigger.
func CheckName(name string) error {
	if name == "" || len(name) > 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name[0] == '-' || name[len(name)-1] == '-' {
		return fmt.Errorf("a name is of a-z, 0-9 and -, at most 40 characters, not %q", app.Clip(name, 60))
	}
	return nil
}

// Sink is where events go: an app with a path, or a URL.
type Sink struct {
	App, Path string // Path begins with /
	URL       string // "" for an app
}

// ParseSink reads "audit", "audit/dead" or "https://example.com/dead".
func ParseSink(s string) (Sink, error) {
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return Sink{}, fmt.Errorf("%q is not a URL of http or https without a password", app.Clip(s, 100))
		}
		return Sink{URL: u.String()}, nil
	}
	name, path, _ := strings.Cut(s, "/")
	if _, err := app.ParseName(name); err != nil || strings.HasSuffix(name, ".git") {
		return Sink{}, fmt.Errorf("%q is not an app, such as \"audit\", an app with a path, such as \"audit/dead\", or a URL", app.Clip(s, 100))
	}
	if u, err := url.ParseRequestURI("/" + path); err != nil || u.Fragment != "" {
		return Sink{}, fmt.Errorf("%q has no path of a URL after the app", app.Clip(s, 100))
	}
	return Sink{App: name, Path: "/" + path}, nil
}

// String is the sink as ParseSink reads it.
func (s Sink) String() string { return cmp.Or(s.URL, s.App+strings.TrimSuffix(s.Path, "/")) }
