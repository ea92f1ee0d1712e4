package command

import (
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) wait() *cobra.Command {
	in := operation.WaitFor{}
	wait := c.declare(operation.Wait.Declaration, "APP [vN] [--timeout D] [--log]", nil)
	wait.Long = wait.Short + ".\nWithout a version, the newest release. A release that has ended already is told at once."
	inJSON := asJSON(wait)
	log := wait.Flags().Bool("log", false, "show the release's log as it is written")
	wait.Flags().Var(spanValue{&in.Timeout, operation.MaxWait, "24h"}, "timeout", "how long at most: 90s, 15m (default 24h)")
	wait.RunE = func(cmd *cobra.Command, args []string) (err error) {
		in.App = args[0]
		if len(args) == 2 {
			if in.Version, err = parseVersion(args[1]); err != nil {
				return err
			}
		}
		out := cmd.OutOrStdout()
		if *log {
			if *inJSON {
				return app.Errorf(app.CodeInvalidInput, "take one of them", "--log and --json exclude each other")
			}
			in.Log = out
		}
		d, err := operation.Wait.Do(cmd.Context(), c.services, c.caller, in)
		if *inJSON && d.Version != 0 {
			if e := printJSON(out, d); e != nil {
				return e
			}
		} else if err == nil {
			fmt.Fprintf(out, "v%d of %s: %s (%s)\n", d.Version, d.App, ending(d), took(d.Release))
		}
		return err
	}
	return wait
}

// ending says how a release ended that did not fail.
func ending(d operation.ReleaseDetail) string {
	if d.State == app.StateCancelled { // a dry run
		return app.Plain(d.Reason)
	}
	return state(d.Release)
}

// spanValue is a flag --timeout that takes a time, from a second to most, which is told in words.
type spanValue struct {
	d     *time.Duration
	most  time.Duration
	words string
}

func (v spanValue) String() string {
	if v.d == nil || *v.d == 0 {
		return ""
	}
	return v.d.String()
}

func (v spanValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > v.most {
		return app.Errorf(app.CodeInvalidInput, "give a time such as 90s or 15m", "--timeout takes a time from 1s to %s, not %q", v.words, app.Clip(s, 30))
	}
	*v.d = d
	return nil
}

func (spanValue) Type() string { return "time" }
