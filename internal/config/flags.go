package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Flags adds a flag for each setting, and --config. What is given is looked at by Load.
func (s *Set) Flags(f *pflag.FlagSet) {
	f.SortFlags = false
	for _, g := range s.flagGroups() {
		f.AddFlagSet(g.flags)
	}
}

// Help lists the flags by group.
func (s *Set) Help() string {
	var b strings.Builder
	for _, g := range s.flagGroups() {
		fmt.Fprintf(&b, "\n%s\n%s", strings.ReplaceAll(g.title, "`", ""), g.flags.FlagUsagesWrapped(140))
	}
	return b.String()
}

type flagGroup struct {
	title string
	flags *pflag.FlagSet
}

func (s *Set) flagGroups() []flagGroup {
	file := newFlagSet()
	file.Var(&given{s: s, name: fileFlag, kind: "file"}, fileFlag, "configuration file (default: "+DefaultFile+", if it exists)")
	all := []flagGroup{{"The configuration. A flag stands above the file, the file above the environment (" + variable("ssh") + " for --ssh, and so on).", file}}
	for _, g := range groups {
		set := newFlagSet()
		for _, x := range s.settings {
			if x.Group != g.name {
				continue
			}
			usage := x.Usage
			if x.Computed != "" {
				usage += " (default: " + strings.ReplaceAll(x.Computed, "`", "") + ")"
			}
			if x.list {
				usage += " (repeatable)"
			}
			v := &given{s: s, name: x.Flag, kind: x.kind.name, list: x.list}
			if x.Computed == "" {
				v.preset = x.Default
			}
			set.Var(v, x.Flag, usage)
			if v.kind == "bool" {
				set.Lookup(x.Flag).NoOptDefVal = "true"
			}
		}
		all = append(all, flagGroup{g.about, set})
	}
	return all
}

func newFlagSet() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SortFlags = false
	return f
}

// given is a flag. It keeps the text: Load reads all sources alike.
type given struct {
	s            *Set
	name, kind   string
	preset       string // for the help
	list, before bool   // before: it was given already
}

// Set implements pflag.Value.
func (g *given) Set(text string) error {
	texts := []string{text}
	if g.list {
		texts = split(text)
		if g.before {
			texts = append(g.s.given[g.name], texts...)
		}
	}
	g.before = true
	g.s.given[g.name] = texts
	return nil
}

// String implements pflag.Value.
func (g *given) String() string { return g.preset }

// Type implements pflag.Value.
func (g *given) Type() string { return g.kind }
