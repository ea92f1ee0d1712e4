package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) brokers() *cobra.Command {
	brokers := c.declare(operation.Brokers.Declaration, "", nil)
	inJSON := asJSON(brokers)
	brokers.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := operation.Brokers.Do(cmd.Context(), c.services, c.caller, operation.OfServer{})
		return show(cmd, *inJSON, list, err, printBrokers)
	}
	brokers.AddCommand(c.declare(operation.CreateBroker.Declaration, "", func(cmd *cobra.Command, args []string) error {
		_, err := operation.CreateBroker.Do(cmd.Context(), c.services, c.caller, operation.OneBroker{Name: args[0]})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Created the broker %s.\n", args[0])
		}
		return err
	}), c.declare(operation.DeleteBroker.Declaration, "", func(cmd *cobra.Command, args []string) error {
		_, err := operation.DeleteBroker.Do(cmd.Context(), c.services, c.caller, operation.OneBroker{Name: args[0]})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Deleted the broker %s.\n", args[0])
		}
		return err
	}), c.declare(operation.ShareBroker.Declaration, "", func(cmd *cobra.Command, args []string) error {
		_, err := operation.ShareBroker.Do(cmd.Context(), c.services, c.caller, operation.SharedBroker{Name: args[0], Keys: args[1:]})
		if err == nil {
			whose := "every app"
			if len(args) > 1 {
				whose = "the apps of " + strings.Join(args[1:], ", ")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The broker %s is for %s.\n", args[0], whose)
		}
		return err
	}), c.refusedEvents(operation.RetryRefused, "Sent %d again.\n"), c.refusedEvents(operation.DiscardRefused, "Discarded %d.\n"))
	return brokers
}

func printBrokers(out io.Writer, list []operation.Broker) error {
	w := table(out, "BROKER", "EVENTS", "QUEUED", "DEAD", "SIZE", "BY", "FOR")
	for _, b := range list {
		row(w, b.Name, b.Events, b.Queued, b.Dead, app.Size(b.Bytes), b.By, cmp.Or(strings.Join(b.Keys, ", "), "every app"))
	}
	return w.Flush()
}

func (c *session) eventTokens() *cobra.Command {
	tokens := &cobra.Command{Use: "token", Short: "Tokens with which a broker takes events over HTTP"}
	Group(tokens)
	var in operation.TokenOf
	create := c.declare(operation.CreateEventToken.Declaration, "NAME [--broker B]", nil)
	createJSON := asJSON(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		in.Name = args[0]
		t, err := operation.CreateEventToken.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *createJSON, t, err, func(out io.Writer, t operation.NewToken) error {
			_, err := fmt.Fprintln(out, t.Token)
			return err
		})
	}
	list := c.declare(operation.EventTokens.Declaration, "[--broker B]", nil)
	listJSON := asJSON(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := operation.EventTokens.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *listJSON, all, err, printTokens)
	}
	revoke := c.declare(operation.RevokeEventToken.Declaration, "NAME [--broker B]", func(cmd *cobra.Command, args []string) error {
		in.Name = args[0]
		_, err := operation.RevokeEventToken.Do(cmd.Context(), c.services, c.caller, in)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Revoked the token %s.\n", args[0])
		}
		return err
	})
	for _, cmd := range []*cobra.Command{create, list, revoke} {
		cmd.Flags().StringVar(&in.Broker, "broker", "", "the broker; the default one where none is given")
	}
	tokens.AddCommand(create, list, revoke)
	return tokens
}

func printTokens(out io.Writer, list []operation.EventToken) error {
	w := table(out, "TOKEN", "BY", "CREATED (UTC)", "LAST USED (UTC)")
	for _, t := range list {
		used := "never"
		if t.Used != nil {
			used = t.Used.UTC().Format(time.DateTime)
		}
		row(w, t.Name, t.By, t.Created.UTC().Format(time.DateTime), used)
	}
	return w.Flush()
}

func (c *session) triggers() *cobra.Command {
	return shown(c, operation.Triggers, printTriggers)
}

// plainJSON is JSON as a person writes it: the encoder writes < and > so that a browser cannot take them for HTML.
func plainJSON(text json.RawMessage) string {
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\\`, `\\`).Replace(string(text))
}

func printTriggers(out io.Writer, list []operation.Trigger) error {
	w := table(out, "TRIGGER", "BROKER", "PATH", "RETRY", "DEAD LETTERS TO", "QUEUED", "DEAD", "FILTERS")
	for _, t := range list {
		retry := fmt.Sprintf("%d %s %s", t.Retry, t.Policy, t.Delay)
		row(w, t.Name, t.Broker, t.Path, retry, t.DeadLetter, t.Queued, t.Dead, app.Line(plainJSON(t.Filters), 200))
	}
	return w.Flush()
}
