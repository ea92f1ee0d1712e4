package event

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Policy is how the pause before a retry grows.
type Policy string

// The policies.
const (
	Linear      Policy = "linear"
	Exponential Policy = "exponential"
)

// The bounds of a delivery, and what Knative's brokers have where a trigger says nothing.
const (
	DefaultRetry = 10
	DefaultDelay = 200 * time.Millisecond
	MaxRetry     = 100
	MaxPause     = 24 * time.Hour // between two attempts
	MaxTimeout   = time.Hour      // of one attempt
)

// Delivery is how an event reaches an app. The zero value is not the default: see Defaults.
type Delivery struct {
	Retry      int           `json:"retry"` // after the first attempt
	Policy     Policy        `json:"backoffPolicy"`
	Delay      time.Duration `json:"backoffDelay"`             // nanoseconds
	Timeout    time.Duration `json:"timeout,omitempty"`        // of one attempt; 0 for as long as the app's requests may last
	DeadLetter string        `json:"deadLetterSink,omitempty"` // where what cannot be delivered goes: an app ("audit"), one with a path ("audit/dead") or a URL; "" for none
}

// Defaults is the delivery of a trigger that says nothing.
func Defaults() Delivery {
	return Delivery{Retry: DefaultRetry, Policy: Exponential, Delay: DefaultDelay}
}

// Pause is how long the delivery waits after a failed attempt, by how many retries there were: delay·2^n, or delay·n.
func (d *Delivery) Pause(retries int) time.Duration {
	factor := float64(retries)
	if d.Policy != Linear {
		factor = math.Exp2(float64(retries))
	}
	if p := float64(d.Delay) * factor; p < float64(MaxPause) {
		return time.Duration(p)
	}
	return MaxPause
}

// duration is ISO 8601 as Knative reads it, without years and months, whose length depends on the date.
var duration = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^P(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,8}(?:\.\d{1,9})?)S)?)?$`)
})

// ParseDuration reads a duration of ISO 8601, such as PT0.2S, or one of Go, such as 200ms.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration of ISO 8601, such as PT0.2S or PT5M", s)
	if !strings.HasPrefix(s, "P") {
		if d, err := time.ParseDuration(s); err == nil && d >= 0 {
			return d, nil
		}
		return 0, bad
	}
	m := duration().FindStringSubmatch(s)
	if m == nil || s == "P" || strings.HasSuffix(s, "T") {
		return 0, bad
	}
	total := 0.0
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, bad
		}
		total += n * float64(unit)
	}
	if total > float64(10*365*24*time.Hour) {
		return 0, bad
	}
	return time.Duration(math.Round(total)), nil
}

// FormatDuration is a duration as ISO 8601 writes it.
func FormatDuration(d time.Duration) string {
	return "PT" + strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "S"
}
