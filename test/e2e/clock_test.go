package e2e

import (
	"fmt"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// clock is that of servers: internal/server knows it in the builds of these tests.
type clock struct {
	from  time.Time
	speed int
	ahead time.Duration
}

func cmdClock(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 2 {
		ts.Fatalf("usage: clock SPEED AHEAD")
	}
	speed, err := strconv.Atoi(args[0])
	ts.Check(err)
	ahead, err := time.ParseDuration(args[1])
	ts.Check(err)
	w.clock = &clock{time.Now(), speed, ahead}
	return output{}, nil
}

// setting is what the server's environment has for this clock.
func (c *clock) setting() []string {
	if c == nil {
		return nil
	}
	return []string{fmt.Sprintf("GITD_TEST_CLOCK=%d %d %s", c.from.UnixNano(), c.speed, c.ahead)}
}

// now is the time that a server with this clock has.
func (c *clock) now() time.Time {
	return c.from.Add(time.Since(c.from)*time.Duration(c.speed) + c.ahead)
}

// until is how long it takes until the clock says so.
func (c *clock) until(t time.Time) time.Duration { return t.Sub(c.now()) / time.Duration(c.speed) }
