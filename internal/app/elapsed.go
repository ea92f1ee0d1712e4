package app

import (
	"fmt"
	"time"
)

// Elapsed formats a duration for people: "37 ms", "3.1s", "2m5s".
func Elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
