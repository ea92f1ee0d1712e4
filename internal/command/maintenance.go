package command

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) maintenance() *cobra.Command {
	cmd := shown(c, operation.Maintenance, printMaintenance)
	cmd.AddCommand(c.maintenanceOn(), c.maintenanceOff())
	return cmd
}

func (c *session) maintenanceOn() *cobra.Command {
	var hold time.Duration
	on := c.declare(operation.MaintenanceOn.Declaration, "APP [--hold 30s]", func(cmd *cobra.Command, args []string) error {
		m, err := operation.MaintenanceOn.Do(cmd.Context(), c.services, c.caller, operation.Maintain{OfApp: operation.OfApp{App: args[0]}, Hold: hold})
		if err != nil {
			return err
		}
		return printMaintenance(cmd.OutOrStdout(), m)
	})
	on.Long = "Answer the app's clients with 503, Retry-After and a short page; or, with --hold, hold their requests until the maintenance ends, each for so long at most.\n" +
		"Requests that are under way finish. Pushes, and addresses of a version of its own, work as before. It stays on until maintenance off."
	on.Flags().Var((*holdValue)(&hold), "hold", "how long a request waits: 30s, or 30; at most "+operation.MaxHold.String())
	return on
}

func (c *session) maintenanceOff() *cobra.Command {
	return c.declare(operation.MaintenanceOff.Declaration, "", func(cmd *cobra.Command, args []string) error {
		m, err := operation.MaintenanceOff.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		if err != nil {
			return err
		}
		return printMaintenance(cmd.OutOrStdout(), m)
	})
}

func printMaintenance(out io.Writer, m operation.MaintenanceOf) error {
	if !m.On {
		_, err := fmt.Fprintf(out, "Maintenance of %s is off.\n", m.App)
		return err
	}
	what := "clients get a page with 503"
	if m.Hold > 0 {
		what = fmt.Sprintf("requests are held for up to %d s", m.Hold)
	}
	who := "by " + app.Plain(m.By)
	if m.Release > 0 {
		who = fmt.Sprintf("for the release command of v%d", m.Release)
	}
	_, err := fmt.Fprintf(out, "Maintenance of %s is on since %s, %s: %s.\n", m.App, m.Since.UTC().Format(time.DateTime), who, what)
	return err
}

// holdValue is a flag that takes a time: "30s", or seconds.
type holdValue time.Duration

func (v *holdValue) String() string {
	if *v == 0 {
		return ""
	}
	return time.Duration(*v).String()
}

func (v *holdValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, bad := strconv.ParseUint(s, 10, 16); bad == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < time.Second || d > operation.MaxHold || d%time.Second != 0 {
		return app.Errorf(app.CodeInvalidInput, "give a time such as --hold 30s, in full seconds", "--hold takes 1s to %s, not %q", operation.MaxHold, app.Clip(s, 30))
	}
	*v = holdValue(d)
	return nil
}

func (*holdValue) Type() string { return "time" }
