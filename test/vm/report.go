package main

import (
	"fmt"
	"io"
	"strings"
)

// report collects what was checked.
type report struct {
	out    io.Writer
	suite  string
	step   string
	checks []check
	times  []string
}

type check struct {
	suite, step, name string
	ok                bool
}

// add writes one check down. want and got are shown where it failed, and got also where it did not, clipped.
func (r *report) add(name string, ok bool, want, got string) {
	r.checks = append(r.checks, check{r.suite, r.step, name, ok})
	if ok {
		fmt.Fprintf(r.out, "PASS %s %s: %s%s\n", r.suite, r.step, name, short(got))
		return
	}
	fmt.Fprintf(r.out, "FAIL %s %s: %s\n     want: %s\n     got:  %s\n", r.suite, r.step, name, want, indent(got))
}

func short(got string) string {
	got = strings.Join(strings.Fields(got), " ")
	if got == "" {
		return ""
	}
	if r := []rune(got); len(r) > 100 {
		got = string(r[:100]) + "…"
	}
	return " (" + got + ")"
}

func indent(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 4000 {
		s = s[:2000] + "\n…\n" + s[len(s)-2000:]
	}
	return strings.ReplaceAll(s, "\n", "\n           ")
}

func (r *report) failed() (n int) {
	for _, c := range r.checks {
		if !c.ok {
			n++
		}
	}
	return n
}

func (r *report) took(line string) { r.times = append(r.times, line) }

// summary ends the report, in a form that programs can read: a line for each failed check, and the count on the last.
func (r *report) summary() {
	fmt.Fprintln(r.out)
	for _, t := range r.times {
		fmt.Fprintln(r.out, t)
	}
	for _, c := range r.checks {
		if !c.ok {
			fmt.Fprintf(r.out, "failed\t%s\t%s\t%s\n", c.suite, c.step, c.name)
		}
	}
	fmt.Fprintf(r.out, "%d passed, %d failed\n", len(r.checks)-r.failed(), r.failed())
}
