package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Separated puts "--" in front of the command of "run APP CMD …": from its first word on flags are the command's own, as in "run shop ls -la".
func (t *Tree) Separated(args []string) []string {
	if len(args) == 0 || args[0] != "run" {
		return args
	}
	run, _, err := t.Find(args[:1])
	if err != nil {
		return args
	}
	words := 0
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--":
			return args
		case strings.HasPrefix(a, "-") && a != "-":
			if takesNext(run, a) {
				i++
			}
		case words == 0:
			words++
		default:
			return slices.Insert(slices.Clone(args), i, "--")
		}
	}
	return args
}

// takesNext says whether the word after a flag is its value.
func takesNext(c *cobra.Command, word string) bool {
	name, long := strings.CutPrefix(word, "--")
	if long {
		f := c.Flag(name)
		return f != nil && f.NoOptDefVal == ""
	}
	f := c.Flags().ShorthandLookup(word[1:2])
	return len(word) == 2 && f != nil && f.NoOptDefVal == ""
}

// meant returns the command that word, which is none, stands for elsewhere or has another place for: "ps:scale" and "scale" are "ps scale" here; "" where there is none, or several.
func meant(root *cobra.Command, word string) string {
	if group, name, ok := strings.Cut(word, ":"); ok {
		if c, rest, err := root.Find([]string{group, name}); err == nil && len(rest) == 0 && c.Name() == name && !c.Hidden {
			return c.CommandPath()
		}
		word = group
		if c, _, err := root.Find([]string{word}); err == nil && c.HasParent() && !c.Hidden {
			return c.CommandPath()
		}
		return ""
	}
	found := ""
	for _, c := range root.Commands() {
		if sub := subcommand(c, word); sub != "" && !c.Hidden {
			if found != "" {
				return ""
			}
			found = sub
		}
	}
	return found
}

// subcommands are the names of c's commands that are shown.
func subcommands(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return names
}

// subcommand returns the path of c's command with this name; "" where it has none that is shown.
func subcommand(c *cobra.Command, name string) string {
	for _, sub := range c.Commands() {
		if sub.Name() == name && !sub.Hidden {
			return sub.CommandPath()
		}
	}
	return ""
}
