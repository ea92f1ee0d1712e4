package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/spf13/cobra"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

func (c *session) apps() *cobra.Command {
	apps := &cobra.Command{
		Use: "apps [APP]", Short: "List the apps, or show one with its revisions", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.showApp(cmd, args[0])
			}
			return c.listApps(cmd)
		},
	}
	apps.AddCommand(&cobra.Command{
		Use: "create NAME", Short: "Create an app (the first push does so as well)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.VerbCreate)
			if err != nil {
				return err
			}
			if _, err := c.Store.CreateAppAs(cmd.Context(), c.caller, name); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Created %s. Push to it: git push platform main\n", name)
			return nil
		},
	}, &cobra.Command{
		Use: "destroy NAME", Short: "Remove an app: its instances, releases, images and repository", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.VerbDelete)
			if err != nil {
				return err
			}
			if err := c.Destroy(cmd.Context(), c.caller, name); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Destroyed %s.\n", name)
			return nil
		},
	})
	return apps
}

func (c *session) listApps(cmd *cobra.Command) error {
	all, err := c.Store.Apps(cmd.Context())
	if err != nil {
		return err
	}
	standings, err := c.Store.Standings(cmd.Context())
	if err != nil {
		return err
	}
	w := table(cmd.OutOrStdout(), "APP", "RELEASE", "STATE", "OWNER", "URL")
	for _, a := range all {
		if _, err := c.allow(cmd.Context(), a.Name, app.VerbRead); err != nil {
			continue
		}
		at := standings[a.Name]
		version, state := "-", "new"
		if at.Live > 0 {
			version, state = fmt.Sprintf("v%d", at.Live), string(app.StateLive)
		}
		if at.Newest > 0 && !at.State.Final() {
			state = fmt.Sprintf("v%d %s", at.Newest, at.State)
		}
		row(w, a.Name, version, state, a.Owner, c.URL(a.Name))
	}
	return w.Flush()
}

func (c *session) showApp(cmd *cobra.Command, arg string) error {
	name, err := c.allow(cmd.Context(), arg, app.VerbRead)
	if err != nil {
		return err
	}
	revisions, err := c.Platform.Describe(cmd.Context(), name)
	if err != nil {
		if _, e := c.Platform.Get(cmd.Context(), name); e == nil {
			return err
		} // no Service yet: nothing was ever live
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", name, c.URL(name))
	w := table(cmd.OutOrStdout(), "REVISION", "TRAFFIC", "TAGS", "INSTANCES", "IN FLIGHT")
	for _, r := range revisions {
		row(w, r.Name, fmt.Sprintf("%d%%", r.Percent), strings.Join(r.Tags, ","), r.Instances, r.InFlight)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return c.showWorkers(cmd, name)
}

// showWorkers names the process types that run beside web, where there are some.
func (c *session) showWorkers(cmd *cobra.Command, name string) error {
	live, err := c.Store.Ledger(name).Live(cmd.Context())
	if app.CodeOf(err) == app.CodeNotFound {
		return nil
	} else if err != nil {
		return err
	}
	manifest, err := c.Store.Ledger(name).Service(cmd.Context(), live.Version)
	if err != nil {
		return err
	}
	var s servingv1.Service
	if err := json.Unmarshal(manifest, &s); err != nil {
		return err
	}
	if workers := release.Workers(&s); len(workers) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "\nworkers of %s: %s\n", live.Revision, app.Plain(strings.Join(workers, ", ")))
	}
	return nil
}

func table(out io.Writer, head ...any) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row(w, head...)
	return w
}

func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		s := fmt.Sprint(cell)
		if s == "" {
			s = "-"
		}
		fmt.Fprint(w, strings.ReplaceAll(app.Plain(s), "\t", " ")) // a tab would begin another cell
	}
	fmt.Fprintln(w)
}
