package command

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) ps() *cobra.Command {
	ps := shown(c, operation.PS, printProcesses)
	ps.AddCommand(c.scale(), c.onProcess(operation.Restart), c.onProcess(operation.Stop), c.onProcess(operation.Start))
	return ps
}

func (c *session) scale() *cobra.Command {
	scale := c.declare(operation.Scale.Declaration, "", func(cmd *cobra.Command, args []string) error {
		in := operation.ScaleOfApp{OfApp: operation.OfApp{App: args[0]}, Asks: args[1:], Log: app.NewLog(cmd.OutOrStdout())}
		_, err := operation.Scale.Do(cmd.Context(), c.services, c.caller, in)
		return err
	})
	scale.Long = scale.Short + `.

web=1..10 keeps one to ten instances by the requests, web=3 three, web=0.. as many as they take, none without them. worker=2 runs two, worker=0 none,
worker=default as many as the app's files say. What is set holds for the releases to come, whatever their project.toml says.`
	return scale
}

// onProcess is the command of an operation on an app, or on one of its process types: APP [TYPE].
func (c *session) onProcess(o operation.Operation[operation.OfProcess, app.Result]) *cobra.Command {
	return c.declare(o.Declaration, "", func(cmd *cobra.Command, args []string) error {
		in := operation.OfProcess{OfApp: operation.OfApp{App: args[0]}, Log: app.NewLog(cmd.OutOrStdout())}
		if len(args) > 1 {
			in.Type = args[1]
		}
		_, err := o.Do(cmd.Context(), c.services, c.caller, in)
		return err
	})
}

func printProcesses(out io.Writer, p operation.Processes) error {
	if p.Live == 0 {
		fmt.Fprintf(out, "nothing of %s is live yet: push it first\n", p.App)
		return nil
	}
	fmt.Fprintf(out, "%s v%d: %s\n", p.App, p.Live, strings.Join(typesOf(p), ", "))
	if p.Stopped != nil {
		fmt.Fprintf(out, "stopped by %s at %s: nothing of it runs until ps start %s, or the next release\n", app.Plain(p.Stopped.Key), p.Stopped.At.UTC().Format(time.DateTime), p.App)
		return nil
	}
	if p.Maintenance != nil {
		if err := printMaintenance(out, *p.Maintenance); err != nil {
			return err
		}
	}
	w := table(out, "PROCESS", "REVISION", "STATE", "SINCE", "RESTARTS", "MEMORY", "CPU", "LAST EXIT")
	for _, in := range p.Instances {
		row(w, processName(in), in.Revision, in.State, when(in.Since), in.Restarts, memoryOf(in), cpuOf(in), lastExit(in.LastExit))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if unmeasured(p) {
		fmt.Fprintln(out, "memory and CPU are not known: on a cluster a metrics server tells them, and gitd needs the right to list pods.metrics.k8s.io")
	}
	for _, t := range p.Types {
		if note := idle(p, t); note != "" {
			fmt.Fprintln(out, note)
		}
	}
	return nil
}

// unmeasured says whether instances are up, and of none is known what it uses.
func unmeasured(p operation.Processes) bool {
	up := false
	for _, in := range p.Instances {
		if in.Memory != nil {
			return false
		}
		up = up || in.State == "up" && in.Since != nil && time.Since(*in.Since) > 15*time.Second // a young one may not be measured yet
	}
	return up
}

// typesOf are the process types with their numbers, as ps scale takes them.
func typesOf(p operation.Processes) []string {
	var all []string
	for _, t := range p.Types {
		s := app.Plain(t.Scale())
		if t.Set {
			s += " (ps scale)"
		}
		all = append(all, s)
	}
	return all
}

// processName is an instance's name: "web.abc12", "worker.1".
func processName(in operation.ProcessInstance) string {
	if in.Type == operation.Web && in.Name != "" {
		return in.Type + "." + in.Name
	}
	if in.Name == "" {
		return in.Type
	}
	return in.Name
}

// idle says why nothing of a process type runs; "" where something does.
func idle(p operation.Processes, t operation.ProcessType) string {
	for _, in := range p.Instances {
		if in.Type == t.Type && in.Live {
			return ""
		}
	}
	switch {
	case t.Type == operation.Web && t.Min == 0:
		return "web: no instance runs; the next request starts one"
	case t.Max == 0 && t.Type != operation.Web:
		return app.Plain(t.Type) + ": off"
	}
	return app.Plain(t.Type) + ": no instance runs yet"
}

func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

func memoryOf(in operation.ProcessInstance) string {
	switch {
	case in.Memory == nil:
		return ""
	case in.Limit == 0:
		return app.Size(*in.Memory)
	}
	return app.Size(*in.Memory) + " of " + app.Size(in.Limit)
}

func cpuOf(in operation.ProcessInstance) string {
	if in.CPU == nil {
		return ""
	}
	return fmt.Sprintf("%.0f%%", *in.CPU*100)
}

func lastExit(e *operation.LastExit) string {
	if e == nil {
		return ""
	}
	return e.At.UTC().Format(time.DateTime) + " " + e.Text
}
