package command

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/cobra"
)

// pageOf is how many releases are shown where nobody says how many; maxPage is how many can be asked for.
const (
	pageOf  = 20
	maxPage = 1000
)

func (c *session) releases() *cobra.Command {
	var lines, before int
	releases := &cobra.Command{
		Use: "releases APP [-n LINES] [--before vN]", Short: "List the releases of an app, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.VerbRead)
			if err != nil {
				return err
			}
			if lines < 1 || lines > maxPage {
				return app.Errorf(app.CodeInvalidInput, "see the older ones page by page: gitd releases "+name+" --before vN", "-n takes a number from 1 to %d", maxPage)
			}
			return c.listReleases(cmd, name, before, lines)
		},
	}
	releases.Flags().IntVarP(&lines, "lines", "n", pageOf, "how many releases")
	releases.Flags().VarP((*versionValue)(&before), "before", "", "only releases older than this one")
	return releases
}

func (c *session) listReleases(cmd *cobra.Command, name string, before, lines int) error {
	page, err := c.Store.Ledger(name).Page(cmd.Context(), before, lines+1)
	if err != nil {
		return err
	}
	live, err := c.Store.Ledger(name).Live(cmd.Context())
	if err != nil && app.CodeOf(err) != app.CodeNotFound {
		return err
	}
	more := len(page) > lines
	page = page[:min(len(page), lines)]
	head := []any{"RELEASE", "STATE", "COMMIT", "BY", "WHEN"}
	signed := slices.ContainsFunc(page, func(r app.Release) bool { return r.Signed != "" })
	if signed { // in a column of its own: what a push says of itself cannot look like it
		head = append(head, "SIGNED")
	}
	w := table(cmd.OutOrStdout(), append(head, "WHAT")...)
	for _, r := range page {
		state := string(r.State)
		if r.State == app.StateLive && r.Version != live.Version {
			state = "was live"
		}
		what := r.Reason
		if r.Message != "" {
			what = strings.TrimSpace(fmt.Sprintf("%q %s", r.Message, r.Reason))
		}
		switch r.Kind {
		case app.KindRollback:
			what = fmt.Sprintf("rollback to v%d %s", r.Of, what)
		case app.KindPromotion:
			what = fmt.Sprintf("promotion of v%d %s", r.Of, what)
		}
		cells := []any{fmt.Sprintf("v%d", r.Version), state, fmt.Sprintf("%.7s", r.Commit), r.Key, r.Created.UTC().Format(time.DateTime)}
		if signed {
			cells = append(cells, strings.TrimPrefix(r.Signed, "signed "))
		}
		row(w, append(cells, what)...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(cmd.OutOrStdout(), "\nolder ones: releases %s --before v%d\n", name, page[len(page)-1].Version)
	}
	return nil
}

// versionValue is a flag that takes a version: v3, or 3.
type versionValue int

func (v *versionValue) String() string {
	if *v == 0 {
		return ""
	}
	return fmt.Sprintf("v%d", int(*v))
}

func (v *versionValue) Set(s string) (err error) {
	n, err := parseVersion(s)
	*v = versionValue(n)
	return err
}

func (*versionValue) Type() string { return "version" }
