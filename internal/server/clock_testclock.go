//go:build testclock

package server

import (
	"fmt"
	"os"
	"time"
)

// now is the time that previews and schedules go by. In this build, which tests alone make, GITD_TEST_CLOCK sets it: "FROM SPEED OFFSET". From the moment FROM (nanoseconds
// since 1970) on it goes SPEED times as fast as it does, and OFFSET (a Go duration) ahead.
var now = testClock(os.Getenv("GITD_TEST_CLOCK"))

func testClock(setting string) func() time.Time {
	if setting == "" {
		return time.Now
	}
	var from, speed int64
	var ahead string
	_, err := fmt.Sscan(setting, &from, &speed, &ahead)
	offset, wrong := time.ParseDuration(ahead)
	if err != nil || wrong != nil {
		panic("GITD_TEST_CLOCK is not FROM SPEED OFFSET: " + setting)
	}
	began := time.Unix(0, from)
	return func() time.Time { return began.Add(time.Since(began)*time.Duration(speed) + offset) }
}
