package command

import (
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

var jobForm = pattern.New(`^j?[1-9][0-9]{0,8}$`)

// parseJob reads the ID of a job: "j3", or "3".
func parseJob(s string) (int, error) {
	if !jobForm.MatchString(s) {
		return 0, app.Errorf(app.CodeInvalidInput, "give one such as j3; gitd jobs APP lists them", "%q is not a job", app.Clip(s, 60))
	}
	return strconv.Atoi(strings.TrimPrefix(s, "j"))
}

func (c *session) jobs() *cobra.Command {
	in := operation.JobsOf{Lines: operation.DefaultJobs}
	jobs := c.declare(operation.Jobs.Declaration, "APP [-n LINES]", nil)
	inJSON := asJSON(jobs)
	jobs.RunE = func(cmd *cobra.Command, args []string) error {
		in.App = args[0]
		list, err := operation.Jobs.Do(cmd.Context(), c.services, c.caller, in)
		return show(cmd, *inJSON, list, err, printJobs)
	}
	jobs.Flags().VarP(linesValue{&in.Lines, operation.MaxJobs}, "lines", "n", "how many jobs")
	jobs.AddCommand(c.showJob(), c.jobLogs(), c.declare(operation.StopJob.Declaration, "", func(cmd *cobra.Command, args []string) error {
		one, err := oneJob(args)
		if err != nil {
			return err
		}
		j, err := operation.StopJob.Do(cmd.Context(), c.services, c.caller, one)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Stopped %s.\n", j.ID)
		}
		return err
	}))
	return jobs
}

func oneJob(args []string) (one operation.OneJob, err error) {
	one.App = args[0]
	one.Number, err = parseJob(args[1])
	return one, err
}

func (c *session) jobLogs() *cobra.Command {
	var in operation.JobLogOf
	logs := c.declare(operation.JobLogs.Declaration, "APP JOB [-f]", func(cmd *cobra.Command, args []string) (err error) {
		if in.OneJob, err = oneJob(args); err != nil {
			return err
		}
		in.Out = cmd.OutOrStdout()
		_, err = operation.JobLogs.Do(cmd.Context(), c.services, c.caller, in)
		return err
	})
	logs.Flags().BoolVarP(&in.Follow, "follow", "f", false, "go on as new lines come, until the job ends")
	return logs
}

func (c *session) showJob() *cobra.Command {
	cmd := c.declare(operation.ShowJob.Declaration, "", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		one, err := oneJob(args)
		if err != nil {
			return err
		}
		j, err := operation.ShowJob.Do(cmd.Context(), c.services, c.caller, one)
		return show(cmd, *inJSON, j, err, printJob)
	}
	return cmd
}

// maxShown is how much of a command a line has room for, in bytes.
const maxShown = 60

func printJobs(out io.Writer, list []operation.Job) error {
	w := table(out, "JOB", "KIND", "RELEASE", "STATE", "STATUS", "BY", "STARTED", "TOOK", "COMMAND", "WHY")
	for _, j := range list {
		row(w, j.ID, kindOf(j), fmt.Sprintf("v%d", j.Release), string(j.State), statusOf(j), j.Key, j.Started.UTC().Format(time.DateTime), jobTook(j),
			app.Line(quoted(j.Command), maxShown), j.Reason)
	}
	return w.Flush()
}

func kindOf(j operation.Job) string {
	if j.Schedule != "" {
		return string(j.Kind) + " " + j.Schedule
	}
	return string(j.Kind)
}

func statusOf(j operation.Job) string {
	if j.Status == nil {
		return ""
	}
	return strconv.Itoa(*j.Status)
}

// quoted is a command as a shell reads it.
func quoted(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		if all[i] = w; w == "" || strings.ContainsAny(w, " \t\n\"'\\$`&|;<>()*?[]#~!{}") {
			all[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(all, " ")
}

func printJob(out io.Writer, j operation.Job) error {
	w := table(out, j.ID, kindOf(j))
	line := func(name, value string) {
		if value != "" {
			row(w, name, value)
		}
	}
	line("state", string(j.State))
	line("status", statusOf(j))
	line("signal", j.Signal)
	line("why", j.Reason)
	line("trace", j.Trace)
	line("command", quoted(j.Command))
	line("release", fmt.Sprintf("v%d", j.Release))
	line("by", j.Key)
	if j.Due != nil {
		line("due", j.Due.UTC().Format(time.DateTime))
	}
	line("started", j.Started.UTC().Format(time.DateTime))
	if j.Ended != nil {
		line("ended", j.Ended.UTC().Format(time.DateTime))
	} else {
		line("ends at", j.Deadline.UTC().Format(time.DateTime)+" at the latest")
	}
	line("took", jobTook(j))
	return w.Flush()
}
