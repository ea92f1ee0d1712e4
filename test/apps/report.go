package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// results keeps each result in a file as soon as it is known, so that a run of hours can be continued.
type results struct {
	folder string
	mu     sync.Mutex
	file   *os.File
	by     map[string]result // by name
}

// openResults opens the file of results in a folder: empty, or with what an earlier run left.
func openResults(folder string, goOn bool) (*results, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	mode := os.O_RDWR | os.O_CREATE | os.O_APPEND
	if !goOn {
		mode |= os.O_TRUNC
	}
	f, err := os.OpenFile(filepath.Join(folder, "results.jsonl"), mode, 0o644)
	if err != nil {
		return nil, err
	}
	k := &results{folder: folder, file: f, by: map[string]result{}}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
		}
		k.by[r.Name] = r
	}
	return k, nil
}

func (k *results) close() { _ = k.file.Close() }

func (k *results) has(s *sample) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.by[s.name()]
	return ok
}

// add keeps a result and prints it.
func (k *results) add(w io.Writer, r result) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	k.by[r.Name] = r
	r.print(w)
	_, err = k.file.Write(append(b, '\n'))
	return err
}

func (r *result) print(w io.Writer) {
	times := ""
	if r.First > 0 {
		times = fmt.Sprintf("%.1f s", r.First.Seconds())
	}
	if r.Warm > 0 {
		times += fmt.Sprintf(", then %.1f s", r.Warm.Seconds())
	}
	fmt.Fprintf(w, "%-8s %-10s %-70s %s", r.Verdict, r.Language, r.Name, times)
	if r.Reason != "" {
		fmt.Fprintf(w, "\n         %s", firstLine(r.Reason))
	}
	if r.Served != "" {
		fmt.Fprintf(w, "\n         serves %s", r.Served)
	}
	fmt.Fprintln(w)
}

// count is how many of a language went live.
type count struct{ live, counted, left int }

func (c *count) add(v verdict) {
	switch v {
	case verdictLive:
		c.live++
		c.counted++
	case verdictFailed:
		c.counted++
	default:
		c.left++
	}
}

// summary prints a table by language, writes results.md, and says whether enough went live.
func (k *results) summary(w io.Writer, tried []sample) error {
	by, all, list := map[string]*count{}, count{}, []result{}
	for i := range tried {
		r := k.by[tried[i].name()]
		list = append(list, r)
		if by[r.Language] == nil {
			by[r.Language] = &count{}
		}
		by[r.Language].add(r.Verdict)
		all.add(r.Verdict)
	}
	fmt.Fprintln(w)
	for _, language := range slices.Sorted(maps.Keys(by)) {
		c := by[language]
		fmt.Fprintf(w, "%-12s %3d of %3d live, %d not counted\n", language, c.live, c.counted, c.left)
	}
	fmt.Fprintf(w, "%-12s %3d of %3d live, %d not counted\n", "all", all.live, all.counted, all.left)
	if err := os.WriteFile(filepath.Join(k.folder, "results.md"), []byte(page(list, by, all)), 0o644); err != nil {
		return err
	}
	if all.counted == 0 || all.live*100 < all.counted*wanted {
		return fmt.Errorf("%d of %d went live, fewer than %d %%", all.live, all.counted, wanted)
	}
	return nil
}

// page is the run as a page: what went live by language, and the reason of each sample that did not.
func page(list []result, by map[string]*count, all count) string {
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	var b strings.Builder
	fmt.Fprintf(&b, "`make test-apps` at commit %s: %d of %d live.\n\n| language | live | counted | not counted |\n|---|---|---|---|\n", strings.TrimSpace(string(commit)), all.live, all.counted)
	for _, language := range slices.Sorted(maps.Keys(by)) {
		c := by[language]
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", language, c.live, c.counted, c.left)
	}
	fmt.Fprint(&b, "\n| sample | result | why |\n|---|---|---|\n")
	for _, r := range list {
		if r.Verdict != verdictLive {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.Name, r.Verdict, strings.ReplaceAll(firstLine(r.Reason), "|", "\\|"))
		}
	}
	return b.String()
}
