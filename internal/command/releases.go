package command

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) releases() *cobra.Command {
	in := operation.ReleasesOf{Lines: operation.DefaultReleases}
	releases := c.declare(operation.Releases.Declaration, "APP [-n LINES] [--before vN]", nil)
	inJSON := asJSON(releases)
	releases.RunE = func(cmd *cobra.Command, args []string) error {
		in.App = args[0]
		page, err := operation.Releases.Do(cmd.Context(), c.services, c.caller, in)
		if err != nil {
			return err
		}
		if *inJSON {
			return printJSON(cmd.OutOrStdout(), page)
		}
		return printReleases(cmd.OutOrStdout(), page)
	}
	releases.Flags().VarP(linesValue{&in.Lines, operation.MaxReleases}, "lines", "n", "how many releases")
	releases.Flags().Var((*versionValue)(&in.Before), "before", "only releases older than this one")
	return releases
}

// How much of a commit's author and subject a line has room for, in bytes.
const (
	maxAuthor  = 25
	maxSubject = 60
)

func printReleases(out io.Writer, page operation.ReleasePage) error {
	head := []any{"RELEASE", "STATE", "COMMIT", "BY", "WHEN"}
	signed := slices.ContainsFunc(page.Releases, func(r operation.Release) bool { return r.Signed != "" })
	if signed { // in a column of its own: what a push says of itself cannot look like it
		head = append(head, "SIGNED")
	}
	commits := slices.ContainsFunc(page.Releases, func(r operation.Release) bool { return r.Author != "" || r.Subject != "" })
	if commits {
		head = append(head, "AUTHOR", "SUBJECT")
	}
	w := table(out, append(head, "WHAT")...)
	for _, r := range page.Releases {
		state := string(r.State)
		if r.State == app.StateLive && !r.Serves {
			state = "was live"
		}
		cells := []any{fmt.Sprintf("v%d", r.Version), state, fmt.Sprintf("%.7s", r.Commit), r.Key, r.Created.UTC().Format(time.DateTime)}
		if signed {
			cells = append(cells, strings.TrimPrefix(r.Signed, "signed "))
		}
		if commits {
			cells = append(cells, app.Line(r.Author, maxAuthor), app.Line(r.Subject, maxSubject))
		}
		row(w, append(cells, what(r))...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if page.More {
		fmt.Fprintf(out, "\nolder ones: releases %s --before v%d\n", page.App, page.Releases[len(page.Releases)-1].Version)
	}
	return nil
}

// what says what a release is about, and why it ended.
func what(r operation.Release) string {
	what := r.Reason
	if r.Message != "" {
		what = strings.TrimSpace(fmt.Sprintf("%q %s", r.Message, r.Reason))
	}
	switch r.Kind {
	case app.KindRollback:
		what = fmt.Sprintf("rollback to v%d %s", r.Of, what)
	case app.KindPromotion:
		what = fmt.Sprintf("promotion of v%d %s", r.Of, what)
	case app.KindRedeploy:
		what = fmt.Sprintf("redeploy of v%d %s", r.Of, what)
	}
	return what
}
