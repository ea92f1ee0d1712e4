package project

import (
	"errors"
	"math"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// webTable is [io.gitd.web].
type webTable struct {
	Port          *int64            `toml:"port"`
	Protocol      *string           `toml:"protocol"`
	HealthPath    *string           `toml:"health-path"`
	HealthTimeout *string           `toml:"health-timeout"`
	StartTimeout  *string           `toml:"start-timeout"`
	Timeout       *string           `toml:"timeout"`
	Memory        *string           `toml:"memory"`
	CPU           *string           `toml:"cpu"`
	Concurrency   *int64            `toml:"concurrency"`
	MinScale      *int64            `toml:"min-scale"`
	MaxScale      *int64            `toml:"max-scale"`
	Window        *string           `toml:"window"`
	Steps         []int64           `toml:"traffic-steps"`
	StepTime      *string           `toml:"step-time"`
	Env           map[string]string `toml:"env"`
}

// set overrides the defaults with the table.
func (w *Web) set(t webTable) error {
	var port int64 = 8080
	w.pathSaid, w.timeoutSaid = w.pathSaid || t.HealthPath != nil, w.timeoutSaid || t.HealthTimeout != nil
	return errors.Join(
		environmentOf("io.gitd.web.env", t.Env, w.Env),
		healthPath(t.HealthPath, &w.HealthPath),
		protocol(t.Protocol, &w.Protocol),
		number("port", t.Port, 1, 65535, &port, func() { w.Port, w.PortSet = int(port), true }),
		number("concurrency", t.Concurrency, 0, 1000, &w.Concurrency, nil),
		number("min-scale", t.MinScale, 0, MaxScale, &w.MinScale, func() { w.MinScaleSaid = true }),
		number("max-scale", t.MaxScale, 0, MaxScale, &w.MaxScale, nil),
		order(w, t.MaxScale != nil),
		steps(t.Steps, w),
		duration("step-time", t.StepTime, time.Second, 10*time.Minute, &w.StepTime),
		duration("health-timeout", t.HealthTimeout, time.Second, 10*time.Minute, &w.HealthTimeout),
		duration("start-timeout", t.StartTimeout, time.Second, 10*time.Minute, &w.StartTimeout),
		duration("timeout", t.Timeout, time.Second, 10*time.Minute, &w.Timeout),
		duration("window", t.Window, 6*time.Second, time.Hour, &w.Window),
		quantity("memory", t.Memory, "16Mi", "64Gi", &w.Memory),
		quantity("cpu", t.CPU, "10m", "64", &w.CPU),
	)
}

// environmentOf checks the run-time environment and copies it.
func environmentOf(key string, from, to map[string]string) error {
	for name, value := range from {
		if !envName(name) {
			return bad("%s: %q cannot be the name of a variable", key, name)
		}
		if name == "PORT" || strings.HasPrefix(name, "K_") {
			return bad("%s: %s is set by the platform", key, name)
		}
		to[name] = value
	}
	return nil
}

func healthPath(v, to *string) error {
	if v == nil {
		return nil
	}
	if _, err := url.ParseRequestURI(*v); err != nil || !strings.HasPrefix(*v, "/") || strings.ContainsAny(*v, " \r\n") {
		return bad("io.gitd.web.health-path: %q must start with /, hold no space and be a valid path of a URL", *v)
	}
	*to = *v
	return nil
}

func protocol(v, to *string) error {
	if v == nil {
		return nil
	}
	if *v != "http1" && *v != "h2c" {
		return bad("io.gitd.web.protocol: %q is not possible; give \"http1\", or \"h2c\" for HTTP/2 without TLS", *v)
	}
	*to = *v
	return nil
}

// MaxScale is how many instances of web an app can ask for.
const MaxScale = 1000

// defaultMaxScale keeps an app without a max-scale from taking the whole machine.
const defaultMaxScale = 10

func order(w *Web, said bool) error {
	if w.MaxScaleSaid = w.MaxScaleSaid || said; !w.MaxScaleSaid {
		w.MaxScale = max(w.MaxScale, w.MinScale)
	}
	if w.MaxScale != 0 && w.MinScale > w.MaxScale {
		return bad("io.gitd.web.min-scale: %d is more than max-scale (%d)", w.MinScale, w.MaxScale)
	}
	return nil
}

// maxSteps keeps a rollout from going on for hours.
const maxSteps = 20

func steps(list []int64, w *Web) error {
	before := int64(0)
	for _, n := range list {
		if n <= before || n >= 100 || len(list) > maxSteps {
			return bad("io.gitd.web.traffic-steps: give at most %d percentages between 1 and 99 that rise, such as [10, 50]", maxSteps)
		}
		before = n
	}
	w.Steps = list
	return nil
}

func number(name string, v *int64, low, high int64, to *int64, then func()) error {
	return numberOf("web", name, v, low, high, to, then)
}

func numberOf(table, name string, v *int64, low, high int64, to *int64, then func()) error {
	if v == nil {
		return nil
	}
	if *v < low || *v > high {
		return bad("io.gitd.%s.%s: %d is not between %d and %d", table, name, *v, low, high)
	}
	*to = *v
	if then != nil {
		then()
	}
	return nil
}

func duration(name string, v *string, low, high time.Duration, to *time.Duration) error {
	return durationOf("web", name, v, low, high, to)
}

func durationOf(table, name string, v *string, low, high time.Duration, to *time.Duration) error {
	if v == nil {
		return nil
	}
	d, err := time.ParseDuration(*v)
	if err != nil {
		return bad("io.gitd.%s.%s: %q is not a time such as \"30s\" or \"2m\"", table, name, *v)
	}
	if d < low || d > high {
		return bad("io.gitd.%s.%s: %s is not between %s and %s", table, name, *v, low, high)
	}
	*to = d
	return nil
}

func quantity(name string, v *string, low, high string, to *resource.Quantity) error {
	return quantityOf("web", name, v, low, high, to)
}

func quantityOf(table, name string, v *string, low, high string, to *resource.Quantity) error {
	if v == nil {
		return nil
	}
	q, err := resource.ParseQuantity(*v)
	if err != nil || math.IsInf(q.AsApproximateFloat64(), 0) {
		return bad("io.gitd.%s.%s: %q is not a quantity such as %q", table, name, *v, map[string]string{"memory": "256Mi", "cpu": "500m"}[name])
	}
	if q.Cmp(resource.MustParse(low)) < 0 || q.Cmp(resource.MustParse(high)) > 0 {
		return bad("io.gitd.%s.%s: %s is not between %s and %s", table, name, *v, low, high)
	}
	*to = q
	return nil
}

func envName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, c := range s {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
