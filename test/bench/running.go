package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// running measures a machine full of apps that run: each has one instance all the time.
func (b *bench) running() error {
	size := scaleSize{apps: 500, releases: 20, running: 500}
	if b.quick {
		size = scaleSize{apps: 50, releases: 5, running: 50}
	}
	s, src, err := b.seedServer("running")
	if err != nil {
		return err
	}
	b.report.title(fmt.Sprintf("%d live apps, an instance of each running", size.apps))
	if err := b.growServer(s, src, size); err != nil {
		return err
	}
	before := available()
	began := time.Now()
	if err := s.serve(s.SSH, s.HTTP); err != nil {
		return err
	}
	if err := b.untilRunning(s, size.running); err != nil {
		return err
	}
	all := time.Since(began)
	b.say("  all run after %s", seconds(all.Seconds()))
	s.rest()
	b.report.text("start of all instances", seconds(all.Seconds()), "")
	b.report.text("  memory of the machine, an app", fmt.Sprintf("%.1f MB", (before-available())/float64(size.running)), "")
	b.report.text("server: memory", fmt.Sprintf("%.0f MB, its proxy %.0f MB", float64(anonymous(s.process.pid()))/(1<<20), float64(anonymous(s.carrier()))/(1<<20)), "")
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.process.pid()))
	if err != nil {
		return err
	}
	b.report.text("server: descriptors", strconv.Itoa(len(descriptors)), "")
	idle := s.used()
	time.Sleep(10 * time.Second)
	b.report.text("server: CPU while nothing is asked", fmt.Sprintf("%.1f %%", (s.used()-idle)*10), "")
	answered, round, err := b.askAll(s, size.apps)
	if err != nil {
		return err
	}
	b.report.text("a request to each, one after the other", fmt.Sprintf("%s an app", seconds(round.Seconds()/float64(answered))), "")
	if err := b.measureStart(s); err != nil {
		return err
	}
	if kept := s.shims(); kept < size.running {
		return fmt.Errorf("%d of %d instances are left after kill -9", kept, size.running)
	}
	if err := b.measureCommands(s); err != nil {
		return err
	}
	_, err = b.measurePushes(s, src)
	return err
}

// untilRunning waits until as many instances run.
func (b *bench) untilRunning(s *server, n int) error {
	for began, last := time.Now(), 0; ; time.Sleep(100 * time.Millisecond) {
		now := s.shims()
		if now >= n {
			break
		}
		if now > last+50 {
			b.say("  %d instances run after %s", now, seconds(time.Since(began).Seconds()))
			last = now
		}
		if b.ctx.Err() != nil || time.Since(began) > 10*time.Minute {
			return fmt.Errorf("%d of %d instances run after %s", now, n, time.Since(began))
		}
	}
	_, _, err := b.askAll(s, n)
	return err
}

// askAll sends one request to each app, and wants an answer of each.
func (b *bench) askAll(s *server, apps int) (answered int, took time.Duration, err error) {
	began := time.Now()
	for n := 1; n < apps; n++ {
		if err := b.untilAnswered(s.HTTP, fmt.Sprintf("app-%05d", n), time.Minute); err != nil {
			return answered, 0, err
		}
		answered++
	}
	return answered, time.Since(began), nil
}

// shims counts the shims of this server's instances.
func (s *server) shims() (n int) {
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		text, _ := os.ReadFile(p)
		program, rest, _ := strings.Cut(string(text), "\x00")
		if filepath.Base(program) == "gitd-shim" && strings.Contains(rest, s.data) {
			n++
		}
	}
	return n
}

// available is the memory of the machine that can be used, in MB.
func available() float64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}
