package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/release"
)

// peer builds the same app by other means.
type peer struct {
	name   string
	target float64 // of gitd's time over the peer's; 0 for none
	src    *source
	build  func() (time.Duration, error)
	times  samples
}

// pushGo measures the Go example against go build, and in the same rounds against pack when that section is chosen.
func (b *bench) pushGo() error {
	src, err := b.newSource("go-alone", filepath.Join(b.repo, "examples/go"))
	if err != nil {
		return err
	}
	alone := &peer{name: "go build alone", src: src, build: func() (time.Duration, error) {
		return b.timed(src.dir, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(b.dir, "go-alone"), ".")
	}}
	peers := []*peer{alone}
	if b.chosen("push-pack") {
		b.done["push-pack"] = true
		p, err := b.usePack()
		if err != nil {
			b.report.failed("push-pack", err)
			b.say("push-pack: not measured: %v", err)
		} else {
			peers = append(peers, p)
		}
	}
	return b.measurePush("go", "Go", b.rounds(8, 3), peers)
}

// pushPack measures against pack where go build was not asked for.
func (b *bench) pushPack() error {
	p, err := b.usePack()
	if err != nil {
		return err
	}
	return b.measurePush("go", "Go", b.rounds(8, 3), []*peer{p})
}

func (b *bench) pushNode() error { return b.measurePush("node", "Node", b.rounds(8, 3), nil) }

// parts are the parts of a push in the order in which they happen.
var parts = []struct {
	name string
	of   func(*release.Timing) float64
}{
	{"receive", func(t *release.Timing) float64 { return t.Receive }},
	{"check out", func(t *release.Timing) float64 { return t.Checkout }},
	{"analyze", func(t *release.Timing) float64 { return t.Analyze }},
	{"detect", func(t *release.Timing) float64 { return t.Detect }},
	{"build (the buildpacks)", func(t *release.Timing) float64 { return t.Build }},
	{"export", func(t *release.Timing) float64 { return t.Export }},
	{"start", func(t *release.Timing) float64 { return t.Start }},
	{"shift", func(t *release.Timing) float64 { return t.Shift }},
	{"between the parts", func(t *release.Timing) float64 { return t.Total - measured(t) }},
}

// measured is the sum of the measured parts.
func measured(t *release.Timing) float64 {
	return t.Receive + t.Checkout + t.Analyze + t.Detect + t.Build + t.Export + t.Start + t.Shift
}

// measurePush changes one line, pushes it, lets each peer build the same change, and does it all again.
func (b *bench) measurePush(example, language string, rounds int, peers []*peer) error {
	s, err := b.useServer()
	if err != nil {
		return err
	}
	name := "bench-" + example
	src, err := b.newSource(name, filepath.Join(b.repo, "examples", example))
	if err != nil {
		return err
	}
	// A word that no compiler's cache on this machine has seen, in this run or an earlier one.
	word := func(what any) string { return fmt.Sprintf("hello-%d-%v", b.began.UnixNano(), what) }
	round := func(word string) (time.Duration, *release.Timing, error) {
		if err := src.change(word); err != nil {
			return 0, nil, err
		}
		if err := b.commit(src); err != nil {
			return 0, nil, err
		}
		wall, t, err := s.push(name, src)
		if err != nil {
			return 0, nil, err
		}
		if status, body, err := s.get(s.client, name, "/"); err != nil || status != 200 || !strings.Contains(body, word) {
			return 0, nil, fmt.Errorf("after the push of %q the app answers %d %q (%v)", word, status, clip(body), err)
		}
		return wall, t, nil
	}

	b.say("first push of %s", name)
	first, _, err := round(word("first"))
	if err != nil {
		return err
	}
	b.say("  live after %s", seconds(first.Seconds()))
	for i := range 2 { // the first change after a cold build still fills caches
		if _, _, err := round(word(fmt.Sprint("warm", i))); err != nil {
			return err
		}
	}
	for _, p := range peers {
		b.say("first build by %s", p.name)
		for i := range 2 {
			if err := p.src.change(word(fmt.Sprint("warm", i))); err != nil {
				return err
			}
			if _, err := p.build(); err != nil {
				return err
			}
		}
	}

	var walls, totals, client, own samples
	split := make([]samples, len(parts))
	for i := range rounds {
		wall, t, err := round(word(i))
		if err != nil {
			return err
		}
		walls.add(wall)
		totals = append(totals, t.Total/1000)
		client = append(client, wall.Seconds()-t.Total/1000)
		own = append(own, (t.Total-t.Receive-t.Build)/1000)
		for j, p := range parts {
			split[j] = append(split[j], p.of(t)/1000)
		}
		line := fmt.Sprintf("  round %d of %d: gitd %s", i+1, rounds, seconds(wall.Seconds()))
		for _, p := range peers {
			if err := p.src.change(word(i)); err != nil {
				return err
			}
			d, err := p.build()
			if err != nil {
				return err
			}
			p.times.add(d)
			line += fmt.Sprintf(", %s %s", p.name, seconds(d.Seconds()))
		}
		b.say("%s", line)
	}

	b.report.title(language + ": warm one-line change")
	b.report.duration("push → live, as git push sees it", walls)
	for _, p := range peers {
		b.report.ratio("push → live against "+p.name, walls, p.times, p.target)
	}
	b.report.durationAtMost("gitd's own share (all but receive and the buildpacks)", own, 1)
	b.report.duration("total on the server", totals)
	for j, p := range parts {
		b.report.duration("  "+p.name, split[j])
	}
	b.report.duration("git client and SSH around it", client)
	b.report.text("first push, cold", seconds(first.Seconds()), "")
	return nil
}
