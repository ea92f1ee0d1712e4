package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/spf13/cobra"
)

var eventForm = pattern.New(`^e?[1-9][0-9]{0,17}$`)

// parseEvent reads by which gitd knows an event: "e3", or "3".
func parseEvent(s string) (int64, error) {
	if !eventForm.MatchString(s) {
		return 0, app.Errorf(app.CodeInvalidInput, "give one such as e3; gitd events list lists them", "%q is not an event", app.Clip(s, 60))
	}
	return strconv.ParseInt(strings.TrimPrefix(s, "e"), 10, 64)
}

func (c *session) events() *cobra.Command {
	events := &cobra.Command{Use: "events", Short: "Send events, and see what became of them"}
	Group(events)
	events.AddCommand(c.sendEvent(), c.listEvents(), c.showEvent(), c.tailEvents(), c.deadEvents(), c.againEvents(operation.RetryDead, "Queued %d for delivery.\n"),
		c.againEvents(operation.DiscardDead, "Gave up %d.\n"), c.replayEvents(), c.eventTokens())
	return events
}

func (c *session) sendEvent() *cobra.Command {
	var in operation.SendEvent
	var data string
	var stdin bool
	e := &in.Event
	send := c.declare(operation.Send.Declaration, "[--broker B] < EVENT.json | --type T [--data D | --stdin]", nil)
	send.Long = send.Short + ".\n\nWithout --type, standard input is an event in the JSON format of CloudEvents. It is accepted when it is on the broker's disk."
	inJSON := asJSON(send)
	send.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case e.Type == "" && (data != "" || e.Source != "" || e.ID != "" || e.Subject != "" || e.ContentType != ""):
			return app.Errorf(app.CodeInvalidInput, "give --type, or all of the event as JSON on standard input", "--type is missing")
		case data != "" && stdin:
			return app.Errorf(app.CodeInvalidInput, "leave one out", "--data and --stdin contradict one another")
		case e.Type == "" || stdin:
			in.In = c.in
		default:
			e.Data = []byte(data)
		}
		sent, err := operation.Send.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *inJSON, sent, err, printSent)
	}
	f := send.Flags()
	f.StringVar(&in.Broker, "broker", "", "the broker; the default one where none is given")
	f.StringVar(&e.Type, "type", "", "its type, such as order.created")
	f.StringVar(&e.Source, "source", "", "its source; /keys/NAME where none is given")
	f.StringVar(&e.ID, "id", "", "its id; a new one where none is given")
	f.StringVar(&e.Subject, "subject", "", "its subject")
	f.StringVar(&e.ContentType, "content-type", "", "of its data; by the data where none is given")
	f.StringVar(&data, "data", "", "its data")
	f.BoolVar(&stdin, "stdin", false, "its data is standard input")
	return send
}

func printSent(out io.Writer, s operation.SentEvent) error {
	triggers := "no trigger"
	switch {
	case s.Duplicate:
		_, err := fmt.Fprintf(out, "%s is there already, with that source and id: it is not delivered again.\n", s.ID)
		return err
	case s.Triggers == 1:
		triggers = "1 trigger"
	case s.Triggers > 1:
		triggers = fmt.Sprintf("%d triggers", s.Triggers)
	}
	_, err := fmt.Fprintf(out, "Accepted %s, for %s.\n", s.ID, triggers)
	return err
}

// eventFlags are those by which events are chosen.
func eventFlags(cmd *cobra.Command, in *operation.EventsOf) {
	f := cmd.Flags()
	f.StringVar(&in.Broker, "broker", "", "of this broker alone")
	f.StringVar(&in.App, "app", "", "those that this app sent or gets")
	f.StringVar(&in.Type, "type", "", "of this type alone")
	f.StringVar(&in.CESQL, "filter", "", "those that pass a CESQL expression, such as \"type LIKE 'order.%'\"")
}

func (c *session) listEvents() *cobra.Command {
	in := operation.EventsOf{Lines: operation.DefaultEvents}
	var before string
	list := c.declare(operation.Events.Declaration, "[--app APP] [--type T] [--filter CESQL] [--before EVENT] [-n LINES]", nil)
	inJSON := asJSON(list)
	list.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if before != "" {
			if in.Before, err = parseEvent(before); err != nil {
				return err
			}
		}
		all, err := operation.Events.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *inJSON, all, err, printEvents)
	}
	eventFlags(list, &in)
	list.Flags().StringVar(&before, "before", "", "those before this one alone")
	list.Flags().VarP(linesValue{&in.Lines, operation.MaxEvents}, "lines", "n", "how many events")
	return list
}

// seenEvent is what a line shows of an event.
type seenEvent struct {
	ID, Source, Type, Subject string
}

func seen(e operation.Event) (s seenEvent) {
	_ = json.Unmarshal(e.Event, &s) // it is ours
	return s
}

func printEvents(out io.Writer, list []operation.Event) error {
	w := table(out, "EVENT", "ACCEPTED (UTC)", "TYPE", "SOURCE", "ID", "FROM", "BECAME OF IT")
	for _, e := range list {
		s := seen(e)
		row(w, e.ID, e.Accepted.UTC().Format(time.DateTime), app.Line(s.Type, maxShown), app.Line(s.Source, maxShown), app.Line(s.ID, maxShown), e.FromKind+" "+e.From, became(e.Deliveries))
	}
	return w.Flush()
}

// takes is what a delivery is to: a trigger, or, where the event did not get that far, its broker.
func takes(d operation.EventDelivery) string {
	if d.App == "" {
		return "the broker"
	}
	return d.App + "/" + d.Trigger
}

// became says what became of an event, trigger by trigger.
func became(all []operation.EventDelivery) string {
	var parts []string
	for _, d := range all {
		parts = append(parts, takes(d)+" "+d.State)
	}
	if len(parts) > 3 {
		parts = append(parts[:3], fmt.Sprintf("%d more", len(all)-3))
	}
	return strings.Join(parts, ", ")
}

func (c *session) showEvent() *cobra.Command {
	cmd := c.declare(operation.ShowEvent.Declaration, "", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		number, err := parseEvent(args[0])
		if err != nil {
			return err
		}
		e, err := operation.ShowEvent.Do(cmd.Context(), c.services, c.caller, operation.OneEvent{Number: number})
		return show(cmd, *inJSON, e, err, printEvent)
	}
	return cmd
}

func printEvent(out io.Writer, e operation.Event) error {
	fmt.Fprintf(out, "%s of the broker %s, accepted at %s UTC from %s %s\n", e.ID, e.Broker, e.Accepted.UTC().Format(time.DateTime), e.FromKind, app.Plain(e.From))
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(plainJSON(e.Event)), "", "  "); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(out, app.Plain(strings.TrimSuffix(line, "\n")))
	}
	for _, d := range e.Deliveries {
		fmt.Fprintf(out, "\n%s: %s", takes(d), d.State)
		if d.Reason != "" {
			fmt.Fprintf(out, ": %s", app.Line(d.Reason, 500))
		}
		if d.Due != nil {
			fmt.Fprintf(out, ", next attempt at %s UTC", d.Due.UTC().Format(time.DateTime))
		}
		fmt.Fprintln(out)
		if len(d.Log) == 0 {
			continue
		}
		w := table(out, "  AT (UTC)", "TOOK", "STATUS", "TO", "SAID")
		for _, a := range d.Log {
			status := ""
			if a.Status != 0 {
				status = strconv.Itoa(a.Status)
			}
			row(w, "  "+a.At.UTC().Format("2006-01-02 15:04:05.000"), fmt.Sprintf("%d ms", a.Millis), status, app.Line(a.Sink, 100), app.Line(a.Error, 200))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *session) tailEvents() *cobra.Command {
	var in operation.EventsOf
	tail := c.declare(operation.TailEvents.Declaration, "[--app APP] [--type T] [--filter CESQL] [--json]", nil)
	inJSON := tail.Flags().Bool("json", false, "print JSON, one line an event")
	tail.Flags().BoolP("follow", "f", true, "go on as events come")
	_ = tail.Flags().MarkHidden("follow") // it always does
	tail.RunE = func(cmd *cobra.Command, _ []string) error {
		out := cmd.OutOrStdout()
		in.Do = func(e operation.Event, missed int) error {
			if missed > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "gitd: %d events are left out: they come faster than they are read\n", missed)
			}
			if *inJSON {
				return json.NewEncoder(out).Encode(e)
			}
			s := seen(e)
			_, err := fmt.Fprintf(out, "%s %s %s from %s: %s\n", e.Accepted.UTC().Format("15:04:05.000"), e.ID, app.Line(s.Type, 100), app.Line(s.Source, 100), became(e.Deliveries))
			return err
		}
		_, err := operation.TailEvents.Do(cmd.Context(), c.services, c.caller, in)
		return err
	}
	eventFlags(tail, &in)
	return tail
}
