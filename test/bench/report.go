package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// samples are measurements of one thing, in seconds unless said otherwise.
type samples []float64

func (s *samples) add(d time.Duration) { *s = append(*s, d.Seconds()) }

// median returns 0 for no samples.
func (s samples) median() float64 {
	if len(s) == 0 {
		return 0
	}
	c := slices.Sorted(slices.Values(s))
	if n := len(c); n%2 == 0 {
		return (c[n/2-1] + c[n/2]) / 2
	}
	return c[len(c)/2]
}

func (s samples) min() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

func (s samples) max() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// row is one line of the result: gitd's figure, its peer's, the figure that the target is about, and the target.
type row struct {
	what, gitd, peer, figure, target, met string
}

type failure struct{ section, reason string }

type report struct {
	load     string
	rows     []row
	notes    []string
	failures []failure
}

func (r *report) failed(section string, err error) {
	r.failures = append(r.failures, failure{section, strings.TrimSpace(err.Error())})
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// title starts a part of the table.
func (r *report) title(what string) { r.rows = append(r.rows, row{what: what}) }

// duration adds a figure without a target.
func (r *report) duration(what string, gitd samples) {
	r.rows = append(r.rows, row{what: what, gitd: span(gitd)})
}

// durationAtMost adds a duration that has a target in seconds.
func (r *report) durationAtMost(what string, gitd samples, target float64) {
	m := gitd.median()
	r.rows = append(r.rows, row{what, span(gitd), "", seconds(m), "≤ " + seconds(target), verdict(m <= target)})
}

// memoryAtMost adds an amount of memory with its target, in bytes.
func (r *report) memoryAtMost(what string, amount, target float64) {
	r.rows = append(r.rows, row{what, megabytes(amount), "", megabytes(amount), "≤ " + megabytes(target), verdict(amount <= target)})
}

// ratio adds durations against a peer's. The figure is the ratio of the medians; target 0 means that there is none.
func (r *report) ratio(what string, gitd, peer samples, target float64) {
	r.compare(row{what: what, gitd: span(gitd), peer: span(peer)}, gitd, peer, samples.min, atMost, target)
}

// cost adds the processor time of one request or handshake, in seconds, against a peer's; target 0 means that there is none.
func (r *report) cost(what string, gitd, peer samples, target float64) {
	r.compare(row{what: what, gitd: micro(gitd), peer: micro(peer)}, gitd, peer, samples.min, atMost, target)
}

// rate adds requests a second against a peer's; target 0 means that there is none.
func (r *report) rate(what string, gitd, peer samples, target float64) {
	r.compare(row{what: what, gitd: perSecond(gitd), peer: perSecond(peer)}, gitd, peer, samples.max, atLeast, target)
}

// What a figure may be, beside its target.
const (
	atMost  = "≤"
	atLeast = "≥"
)

func (r *report) compare(x row, gitd, peer samples, best func(samples) float64, bound string, target float64) {
	if peer.median() > 0 {
		f := gitd.median() / peer.median()
		x.figure = fmt.Sprintf("%.2f× (best %.2f×)", f, best(gitd)/best(peer))
		if target > 0 {
			x.target, x.met = fmt.Sprintf("%s %.2f×", bound, target), verdict(f == target || (f < target) == (bound == atMost))
		}
	}
	r.rows = append(r.rows, x)
}

// text adds figures that are already words.
func (r *report) text(what, gitd, peer string) {
	r.rows = append(r.rows, row{what: what, gitd: gitd, peer: peer})
}

// count adds a count whose target is 0.
func (r *report) count(what string, n, of int) {
	r.rows = append(r.rows, row{what, fmt.Sprintf("%d of %d", n, of), "", fmt.Sprint(n), "0", verdict(n == 0)})
}

func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}

// seconds prints a duration with three significant digits.
func seconds(s float64) string {
	switch {
	case s < 0.0995:
		return fmt.Sprintf("%.1f ms", s*1000)
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	default:
		return fmt.Sprintf("%.2f s", s)
	}
}

func megabytes(bytes float64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%.2f MiB", bytes/(1<<20))
	}
	return fmt.Sprintf("%.1f MiB", bytes/(1<<20))
}

func span(s samples) string {
	if len(s) == 0 {
		return "-"
	}
	if len(s) == 1 {
		return seconds(s[0])
	}
	return fmt.Sprintf("%s (best %s)", seconds(s.median()), seconds(s.min()))
}

func perSecond(s samples) string {
	if len(s) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f/s (best %.0f/s)", s.median(), s.max())
}

// print writes the table: medians, the best in brackets.
func (r *report) print(w io.Writer) {
	head := row{"", "gitd", "peer", "figure", "target", ""}
	cells := func(x row) []string { return []string{x.what, x.gitd, x.peer, x.figure, x.target, x.met} }
	title := func(x row) bool { return x.gitd == "" && x.peer == "" }
	width := make([]int, 6)
	for i, x := range r.rows {
		if !title(x) {
			r.rows[i].what = "  " + x.what
		}
	}
	for _, x := range append([]row{head}, r.rows...) {
		for i, c := range cells(x) {
			if !title(x) || i > 0 {
				width[i] = max(width[i], len([]rune(c)))
			}
		}
	}
	line := func(x row) {
		var b strings.Builder
		for i, c := range cells(x) {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", max(0, width[i]-len([]rune(c)))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	fmt.Fprintf(w, "\nMedians, best in brackets; figures are ratios of medians. Load of the machine before the run: %s.\n\n", r.load)
	line(head)
	for _, x := range r.rows {
		if title(x) {
			fmt.Fprintf(w, "\n%s\n", x.what)
			continue
		}
		line(x)
	}
	fmt.Fprintln(w)
	for _, n := range r.notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	for _, f := range r.failures {
		fmt.Fprintf(w, "NOT MEASURED: %s: %s\n", f.section, f.reason)
	}
}
