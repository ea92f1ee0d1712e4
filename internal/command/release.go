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

func (c *session) release() *cobra.Command {
	cmd := c.declare(operation.ShowRelease.Declaration, "", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		version, err := parseVersion(args[1])
		if err != nil {
			return err
		}
		d, err := operation.ShowRelease.Do(cmd.Context(), c.services, c.caller, operation.ReleaseOf{OfApp: operation.OfApp{App: args[0]}, Version: version})
		return show(cmd, *inJSON, d, err, printRelease)
	}
	return cmd
}

func printRelease(out io.Writer, d operation.ReleaseDetail) error {
	w := table(out, "RELEASE", fmt.Sprintf("v%d of %s: %s", d.Version, d.App, state(d.Release)))
	line := func(name, value string) {
		if value != "" {
			row(w, name, value)
		}
	}
	line("kind", kind(d.Release))
	line("commit", strings.TrimSpace(d.Commit+" "+app.Line(d.Subject, maxSubject)))
	line("author", app.Line(d.Author, 4*maxAuthor))
	line("source", d.Source)
	if d.Source == "" {
		line("ref", d.Ref)
	}
	line("by", d.Key)
	line("signed", strings.TrimPrefix(d.Signed, "signed "))
	line("message", d.Message)
	line("reason", d.Reason)
	line("begun", d.Created.UTC().Format(time.DateTime))
	line("took", took(d.Release))
	line("parts", parts(d.Parts))
	line("trace", d.Trace)
	line("image", d.Image)
	line("processes", strings.Join(d.Processes, " "))
	line("revision", d.Revision)
	for _, name := range d.SettingNames() {
		line(name, d.Settings[name])
	}
	line("env", strings.Join(d.Env, " "))
	var config []string
	for _, v := range d.Config {
		config = append(config, v.Name+"="+v.Digest)
	}
	line("config (digests)", strings.Join(config, " "))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	w = table(out, "AFTER", "STATE", "REASON")
	for _, e := range d.Events {
		row(w, app.Elapsed(e.At.Sub(d.Created)), e.State, e.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printChanges(out, d.Changes)
}

// kind says where a release begins.
func kind(r operation.Release) string {
	if r.Of != 0 {
		return fmt.Sprintf("%s of %s", r.Kind, origin(r))
	}
	return string(r.Kind)
}

// parts are what the parts of a release took, in one line.
func parts(all []app.Time) string {
	var list []string
	for _, p := range all {
		list = append(list, p.Part+" "+app.Elapsed(time.Duration(p.Milliseconds)*time.Millisecond))
	}
	return strings.Join(list, ", ")
}

func printChanges(out io.Writer, ch *operation.ReleaseChanges) error {
	if ch == nil {
		return nil
	}
	fmt.Fprintln(out)
	w := table(out, fmt.Sprintf("CHANGED SINCE v%d", ch.From), "BEFORE", "AFTER")
	some := false
	line := func(name, before, after string) { some = true; row(w, name, before, after) }
	if ch.Commit != nil {
		line("commit", fmt.Sprintf("%.7s", ch.Commit.Before), fmt.Sprintf("%.7s", ch.Commit.After))
	}
	if ch.Image != nil {
		line("image", shortImage(ch.Image.Before), shortImage(ch.Image.After))
	}
	for _, s := range ch.Settings {
		line(s.Name, s.Before, s.After)
	}
	for _, e := range ch.Env {
		line("env "+e.Name, "", e.Change)
	}
	for _, c := range ch.Config {
		line("config "+c.Name, c.From, c.To)
	}
	if !some {
		line("nothing", "", "")
	}
	return w.Flush()
}

// shortImage is an image's reference with the beginning of its digest.
func shortImage(ref string) string {
	repository, digest, ok := strings.Cut(ref, "@sha256:")
	if !ok {
		return ref
	}
	return fmt.Sprintf("%s@%.12s", repository, digest)
}
