//go:build !testclock

package server

import "time"

// now is the time that previews and schedules go by.
var now = time.Now
