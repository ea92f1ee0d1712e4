package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

func (r *result) print(w io.Writer) {
	times := ""
	if r.first > 0 {
		times = fmt.Sprintf("%.1f s", r.first.Seconds())
	}
	if r.warm > 0 {
		times += fmt.Sprintf(", then %.1f s", r.warm.Seconds())
	}
	fmt.Fprintf(w, "%-8s %-10s %-70s %s", r.verdict, r.sample.Language, r.sample.name(), times)
	if r.reason != "" {
		fmt.Fprintf(w, "\n         %s", firstLine(r.reason))
	}
	if r.served != "" {
		fmt.Fprintf(w, "\n         serves %s", r.served)
	}
	fmt.Fprintln(w)
}

// summary prints a table by language and says whether enough went live.
func summary(w io.Writer, results []result) error {
	type count struct{ live, counted, left int }
	by := map[string]*count{}
	var all count
	for _, r := range results {
		c := by[r.sample.Language]
		if c == nil {
			c = &count{}
			by[r.sample.Language] = c
		}
		for _, c := range []*count{c, &all} {
			switch r.verdict {
			case verdictLive:
				c.live++
				c.counted++
			case verdictFailed:
				c.counted++
			default:
				c.left++
			}
		}
	}
	fmt.Fprintln(w)
	for _, language := range slices.Sorted(maps.Keys(by)) {
		c := by[language]
		fmt.Fprintf(w, "%-12s %3d of %3d live, %d not counted\n", language, c.live, c.counted, c.left)
	}
	fmt.Fprintf(w, "%-12s %3d of %3d live, %d not counted\n", "all", all.live, all.counted, all.left)
	if all.counted == 0 || all.live*100 < all.counted*wanted {
		return fmt.Errorf("%d of %d went live, fewer than %d %%", all.live, all.counted, wanted)
	}
	return nil
}
