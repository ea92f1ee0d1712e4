package command

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) releases() *cobra.Command {
	in := operation.ReleasesOf{Lines: operation.DefaultReleases}
	releases := c.declare(operation.Releases.Declaration, "APP [-n LINES] [--before vN] [--images] [--traces]", nil)
	inJSON := asJSON(releases)
	images := releases.Flags().Bool("images", false, "show the image of each release")
	traces := releases.Flags().Bool("traces", false, "show the ID of each release's trace")
	releases.RunE = func(cmd *cobra.Command, args []string) error {
		in.App = args[0]
		page, err := operation.Releases.Do(cmd.Context(), c.services, c.caller, in)
		if err != nil {
			return err
		}
		if *inJSON {
			return printJSON(cmd.OutOrStdout(), page)
		}
		return printReleases(cmd.OutOrStdout(), page, *images, *traces)
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

func printReleases(out io.Writer, page operation.ReleasePage, images, traces bool) error {
	head := []any{"RELEASE", "STATE", "COMMIT", "BY", "WHEN", "TOOK"}
	signed := slices.ContainsFunc(page.Releases, func(r operation.Release) bool { return r.Signed != "" })
	if signed { // in a column of its own: what a push says of itself cannot look like it
		head = append(head, "SIGNED")
	}
	if images {
		head = append(head, "IMAGE")
	}
	if traces {
		head = append(head, "TRACE")
	}
	commits := slices.ContainsFunc(page.Releases, func(r operation.Release) bool { return r.Author != "" || r.Subject != "" })
	if commits {
		head = append(head, "AUTHOR", "SUBJECT")
	}
	w := table(out, append(head, "WHAT")...)
	for _, r := range page.Releases {
		cells := []any{fmt.Sprintf("v%d", r.Version), state(r), madeOf(r), r.Key, r.Created.UTC().Format(time.DateTime), took(r)}
		if signed {
			cells = append(cells, strings.TrimPrefix(r.Signed, "signed "))
		}
		if images {
			cells = append(cells, r.Image)
		}
		if traces {
			cells = append(cells, r.Trace)
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

// madeOf is the commit of a release, or the reference of a ready image.
func madeOf(r operation.Release) string {
	if r.Source != "" {
		ref, _, _ := strings.Cut(r.Source, "@")
		return app.Line(ref, maxSubject)
	}
	return fmt.Sprintf("%.7s", r.Commit)
}

// state is a release's state as people read it.
func state(r operation.Release) string {
	if r.State == app.StateLive && !r.Serves {
		return "was live"
	}
	return string(r.State)
}

// took is how long a release took; "" while it is under way.
func took(r operation.Release) string {
	if r.Finished == nil {
		return ""
	}
	return app.Elapsed(time.Duration(r.Seconds * float64(time.Second)))
}

// origin is the release that one begins with: "v3", or "feature/x v3" where that is one of a preview.
func origin(r operation.Release) string {
	branch := strings.TrimPrefix(r.Ref, "refs/heads/")
	if r.Kind == app.KindPromotion && branch != "" && branch != "main" && branch != "master" {
		return fmt.Sprintf("%s v%d", app.Line(branch, maxSubject), r.Of)
	}
	return fmt.Sprintf("v%d", r.Of)
}

// what says what a release is about, and why it ended.
func what(r operation.Release) string {
	from, message := "", ""
	if r.Message != "" {
		message = strconv.Quote(r.Message)
	}
	switch r.Kind {
	case app.KindRollback:
		from = "rollback to v" + strconv.Itoa(r.Of)
	case app.KindPromotion:
		from = "promotion of " + origin(r)
	case app.KindRedeploy, app.KindRebase:
		from = fmt.Sprintf("%s of v%d", r.Kind, r.Of)
	case app.KindConfig, app.KindScale:
		from, message = fmt.Sprintf("%s on v%d:", r.Kind, r.Of), r.Message
	case app.KindImage:
		from = "image"
	}
	return strings.Join(slices.DeleteFunc([]string{from, message, r.Reason}, func(s string) bool { return s == "" }), " ")
}
