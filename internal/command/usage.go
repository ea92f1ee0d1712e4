package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Usage makes errors of the command line itself, which cobra finds, *app.Errors that say where to read on: those are the only errors that point to the help.
// It is called when the tree of commands is complete.
func Usage(root *cobra.Command) {
	root.SetFlagErrorFunc(usageError)
	group(root)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if check := c.Args; check != nil {
			c.Args = func(c *cobra.Command, args []string) error { return usageError(c, check(c, args)) }
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

func usageError(c *cobra.Command, err error) error {
	var e *app.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	how := "gitd help"
	if c.HasParent() {
		how = strings.Join(append([]string{"gitd", "help"}, strings.Fields(c.CommandPath())[1:]...), " ")
	}
	return app.Errorf(app.CodeInvalidInput, "see how: "+how, "%s", app.Plain(app.Clip(err.Error(), 300)))
}

// Group makes c a command that only holds others: by itself it shows its help.
func Group(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			next := "see what there is: " + strings.Replace(c.CommandPath(), "gitd", "gitd help", 1)
			if other := meant(c.Root(), args[0]); other != "" && !c.HasParent() {
				next = "perhaps this is meant: " + other + "; " + next
			}
			return app.Errorf(app.CodeInvalidInput, next, "unknown command %q", app.Clip(strings.Join(append(strings.Fields(c.CommandPath())[1:], args[0]), " "), 100))
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// atLeast checks that there are n arguments with these names, or more.
func atLeast(n int, names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%s is missing: %s", names[len(args)], c.UseLine())
		}
		return nil
	}
}

// Takes checks the number of arguments against how people read them: "APP [vN]" is one or two, "TYPE..." one or
// more. What begins with a dash is a flag.
func Takes(line string) cobra.PositionalArgs {
	var names []string
	least := 0
	for _, w := range strings.Fields(line) {
		if strings.HasPrefix(strings.Trim(w, "["), "-") {
			continue
		}
		names = append(names, strings.Trim(w, "[]"))
		if !strings.HasPrefix(w, "[") {
			least = len(names)
		}
	}
	return func(c *cobra.Command, args []string) error {
		path := strings.TrimPrefix(c.CommandPath(), "gitd ")
		switch {
		case len(args) < least:
			return fmt.Errorf("%s is missing: %s", names[len(args)], c.UseLine())
		case len(args) > len(names) && len(names) == 0:
			return fmt.Errorf("%s takes no argument, and got %q", path, args[0])
		case len(args) > len(names) && !strings.HasSuffix(names[len(names)-1], "..."):
			left := args[len(names)]
			if sub := subcommand(c, left); sub != "" {
				return app.Errorf(app.CodeInvalidInput, "name the app last: "+app.Plain(app.Clip(sub+" "+args[0], 100)), "%s does not take so many arguments: %q is left over", path, left)
			}
			if subs := subcommands(c); len(subs) > 0 {
				return app.Errorf(app.CodeInvalidInput, "its commands are "+strings.Join(subs, ", ")+"; see how: gitd help "+path, "%s does not take so many arguments: %q is left over", path, left)
			}
			return fmt.Errorf("%s does not take so many arguments: %q is left over", path, left)
		}
		return nil
	}
}
