package command

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) apps() *cobra.Command {
	apps := &cobra.Command{Use: "apps [APP]", Short: "List the apps, or show one with its revisions", Args: Takes("[APP]")}
	inJSON := asJSON(apps)
	previews := apps.Flags().Bool("previews", false, "with the previews of the apps")
	apps.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return c.showApp(cmd, args[0], *inJSON)
		}
		list, err := operation.Apps.Do(cmd.Context(), c.services, c.caller, operation.AllApps{Previews: *previews})
		c.warn(cmd)
		return show(cmd, *inJSON, list, err, printApps)
	}
	c.asks(apps, func(args []string) operation.Declaration {
		if len(args) > 0 {
			return operation.ShowApp.Declaration
		}
		return operation.Apps.Declaration
	})
	apps.AddCommand(c.declare(operation.CreateApp.Declaration, "", func(cmd *cobra.Command, args []string) error {
		name, err := operation.CreateApp.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Created %s. Push to it: git push platform main\n", name)
		}
		return err
	}), c.declare(operation.DestroyApp.Declaration, "", func(cmd *cobra.Command, args []string) error {
		name, err := operation.DestroyApp.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Destroyed %s.\n", name)
		}
		return err
	}))
	return apps
}

// warn tells an admin what does not work where apps run. A list of apps is worth having without.
func (c *session) warn(cmd *cobra.Command) {
	lines, err := operation.Warnings.Do(cmd.Context(), c.services, c.caller, operation.OfServer{})
	if err != nil && app.CodeOf(err) != app.CodeForbidden && c.services.Log != nil {
		c.services.Log("apps: %v", err)
	}
	for _, line := range lines {
		app.NewLog(cmd.ErrOrStderr()).Error("%s", line)
	}
}

func printApps(out io.Writer, list []operation.AppSummary) error {
	w := table(out, "APP", "RELEASE", "STATE", "OWNER", "URL")
	for _, a := range list {
		version, state := "-", "new"
		if a.Live > 0 {
			version, state = fmt.Sprintf("v%d", a.Live), string(app.StateLive)
		}
		if a.Maintained {
			state += ", maintained"
		}
		if a.Trouble != "" {
			state += ", " + a.Trouble
		}
		if a.Stopped {
			state = "stopped"
		}
		if a.UnderWay > 0 {
			state = fmt.Sprintf("v%d %s", a.UnderWay, a.State)
		}
		row(w, a.Name, version, state, a.Owner, cmp.Or(a.URL, "- (workers alone)"))
	}
	return w.Flush()
}

func (c *session) showApp(cmd *cobra.Command, arg string, inJSON bool) error {
	a, err := operation.ShowApp.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: arg})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if inJSON {
		return printJSON(out, a)
	}
	fmt.Fprintf(out, "%s  %s\n", a.Name, cmp.Or(a.URL, "runs workers alone: it has no address"))
	w := table(out, "REVISION", "TRAFFIC", "TAGS", "INSTANCES", "IN FLIGHT")
	for _, r := range a.Revisions {
		row(w, r.Name, fmt.Sprintf("%d%%", r.Percent), strings.Join(r.Tags, ","), r.Instances, r.InFlight)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(a.Workers) > 0 {
		fmt.Fprintf(out, "\nworkers of %s:\n", a.Revision)
		w := table(out, "WORKER", "STATE", "SINCE")
		for _, v := range a.Workers {
			since := ""
			if v.Since != nil {
				since = v.Since.UTC().Format(time.DateTime)
			}
			row(w, app.Plain(v.Name), v.State, since)
		}
		return w.Flush()
	}
	return nil
}
