package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func (s *server) sshTo() []string {
	host, port, _ := strings.Cut(s.SSH, ":")
	return append(s.sshOptions(), "-p", port, "git@"+host)
}

// carrier is the process of the server's proxy, which outlives it; 0 where the server carries requests itself, as older builds do.
func (s *server) carrier() int {
	for _, pid := range processes() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		program, rest, _ := strings.Cut(string(text), "\x00")
		if filepath.Base(program) == "gitd-proxy" && strings.HasPrefix(rest, s.data+"/") {
			return pid
		}
	}
	return 0
}

// carried returns the processor time of what carries requests, and decides where they go: the server and its proxy, in seconds.
func (s *server) carried() float64 {
	return cpuTime(s.process.pid(), false) + cpuTime(s.carrier(), false)
}

// used returns the processor time of the server, of its proxy, and of the processes that it started and that have ended, in seconds.
func (s *server) used() float64 {
	f, ok := statFields(s.process.pid())
	if !ok || len(f) < 15 {
		return 0
	}
	var ticks float64
	for _, n := range f[11:15] {
		t, _ := strconv.ParseFloat(n, 64)
		ticks += t
	}
	return ticks/100 + cpuTime(s.carrier(), false)
}

// peak returns the most memory that the server had, in megabytes.
func (s *server) peak() float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.pid()))
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// memory returns what the server and its proxy hold of memory that no file backs, in bytes.
func (s *server) memory() int64 { return anonymous(s.process.pid()) + anonymous(s.carrier()) }

// cost returns the processor time that the server needs for something and for what follows it, and how long the thing took.
func (s *server) cost(do func() error) (cpu float64, wall time.Duration, err error) {
	before, began := s.used(), time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	wall = time.Since(began)
	s.rest()
	return s.used() - before, wall, nil
}

// rest waits until the server does nothing any more.
func (s *server) rest() {
	for last, quiet := s.used(), 0; quiet < 4; {
		time.Sleep(250 * time.Millisecond)
		now := s.used()
		if quiet++; now-last > 0.02 {
			quiet = 0
		}
		last = now
	}
}
