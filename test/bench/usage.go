package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// treeTime returns the processor time of a process and of all that it started, in seconds.
func treeTime(pid int) float64 {
	total := 0.0
	for _, p := range append(descendants(pid), pid) {
		if f, ok := statFields(p); ok && len(f) > 14 {
			for _, ticks := range f[11:15] { // of its own, and of children that are gone
				n, _ := strconv.ParseFloat(ticks, 64)
				total += n / 100
			}
		}
	}
	return total
}

// descendants returns the children of a process, theirs, and so on.
func descendants(pid int) (found []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range threads {
		text, _ := os.ReadFile(t)
		for child := range strings.FieldsSeq(string(text)) {
			if p, err := strconv.Atoi(child); err == nil {
				found = append(append(found, p), descendants(p)...)
			}
		}
	}
	return found
}

// watchMemory samples the anonymous memory of a process and of all that it started, until the function that it returns is called,
// which says how much it was at most.
func watchMemory(pid int) func() int64 {
	stop := make(chan struct{})
	var most int64
	var done sync.WaitGroup
	done.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			now := anonymous(pid)
			for _, p := range descendants(pid) {
				now += anonymous(p)
			}
			most = max(most, now)
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	return func() int64 {
		close(stop)
		done.Wait()
		return most
	}
}

func anonymous(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for l := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
