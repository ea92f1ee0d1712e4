package main

import (
	"fmt"
	"time"
)

// changes measures what does not need a build, under load: a change of the configuration, and the way back. Each is timed from the start of the command until it
// has ended, with the new instance live and its workers set.
func (b *bench) changes() error {
	s, _, err := b.web()
	if err != nil {
		return err
	}
	rounds := b.rounds(20, 5)
	var sets, back samples
	l := b.startLoad(s, "web")
	timed := func(to *samples, args ...string) error {
		began := time.Now()
		if err := s.run(nil, append(args, "--data", s.data)...); err != nil {
			return err
		}
		to.add(time.Since(began))
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(time.Second): // let the old revision drain under load
			return nil
		}
	}
	for n := range rounds {
		if err = timed(&sets, "config", "set", "web", fmt.Sprintf("ROUND=%d", n)); err != nil {
			break
		}
		if err = timed(&back, "rollback", "web"); err != nil {
			break
		}
	}
	l.stop()
	if err != nil {
		return err
	}
	b.say("  %d changes and rollbacks; %d requests, %d failed %s", rounds, l.sent, len(l.failures), l.kinds())
	b.report.title("Changes without a build, under the load of the cut-overs")
	b.report.durationAtMost("config set: until it is live", sets, 2)
	b.report.durationAtMost("rollback: until it is live", back, 1)
	b.report.count("failed through both", len(l.failures), l.sent)
	return nil
}
