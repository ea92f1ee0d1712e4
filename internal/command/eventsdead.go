package command

import (
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) deadEvents() *cobra.Command {
	in := operation.DeadOf{Lines: operation.DefaultEvents}
	var before string
	dead := c.declare(operation.Dead.Declaration, "APP [--before EVENT] [-n LINES]", nil)
	inJSON := asJSON(dead)
	dead.RunE = func(cmd *cobra.Command, args []string) (err error) {
		in.App = args[0]
		if before != "" {
			if in.Before, err = parseEvent(before); err != nil {
				return err
			}
		}
		list, err := operation.Dead.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *inJSON, list, err, printDead)
	}
	dead.Flags().StringVar(&before, "before", "", "those before this one alone")
	dead.Flags().VarP(linesValue{&in.Lines, operation.MaxEvents}, "lines", "n", "how many events")
	return dead
}

func printDead(out io.Writer, list []operation.Event) error {
	w := table(out, "EVENT", "ACCEPTED (UTC)", "TYPE", "ID", "TRIGGER", "WHY")
	for _, e := range list {
		s := seen(e)
		for _, d := range e.Deliveries {
			if d.State == "dead" {
				row(w, e.ID, e.Accepted.UTC().Format(time.DateTime), app.Line(s.Type, maxShown), app.Line(s.ID, maxShown), d.Trigger, app.Line(d.Reason, 200))
			}
		}
	}
	return w.Flush()
}

// againEvents makes the command of an operation on dead letters. says is printed with how many there were.
func (c *session) againEvents(o operation.Operation[operation.EventsOfApp, operation.Done], says string) *cobra.Command {
	cmd := c.declare(o.Declaration, "", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		numbers, err := parseEvents(args[1:])
		if err != nil {
			return err
		}
		done, err := o.Do(cmd.Context(), c.services, c.caller, operation.EventsOfApp{OfApp: operation.OfApp{App: args[0]}, Numbers: numbers})
		return show(cmd, *inJSON, done, err, printDone(says))
	}
	return cmd
}

// refusedEvents makes the command of an operation on what a broker refused.
func (c *session) refusedEvents(o operation.Operation[operation.EventsOfBroker, operation.Done], says string) *cobra.Command {
	cmd := c.declare(o.Declaration, "", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		numbers, err := parseEvents(args[1:])
		if err != nil {
			return err
		}
		done, err := o.Do(cmd.Context(), c.services, c.caller, operation.EventsOfBroker{Broker: args[0], Numbers: numbers})
		return show(cmd, *inJSON, done, err, printDone(says))
	}
	return cmd
}

func parseEvents(args []string) (numbers []int64, err error) {
	for _, a := range args {
		n, err := parseEvent(a)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func printDone(says string) func(io.Writer, operation.Done) error {
	return func(out io.Writer, d operation.Done) error {
		_, err := fmt.Fprintf(out, says, d.Deliveries)
		return err
	}
}

func (c *session) replayEvents() *cobra.Command {
	var since string
	cmd := c.declare(operation.Replay.Declaration, "APP TRIGGER --since TIME", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		in := operation.ReplayOf{OfApp: operation.OfApp{App: args[0]}, Trigger: args[1]}
		if in.Since, err = parseSince(since, time.Now()); err != nil {
			return err
		}
		done, err := operation.Replay.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *inJSON, done, err, printDone("Queued %d for delivery.\n"))
	}
	cmd.Flags().StringVar(&since, "since", "", "a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h")
	return cmd
}

// parseSince reads a time, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, app.Errorf(app.CodeInvalidInput, "give --since 2026-01-31T12:00:00Z, or how long ago: --since 2h", "%q is not a time", app.Clip(s, 60))
}
