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
		p, err := b.packGo()
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
	p, err := b.packGo()
	if err != nil {
		return err
	}
	return b.measurePush("go", "Go", b.rounds(8, 3), []*peer{p})
}

func (b *bench) packGo() (*peer, error) {
	p, err := b.usePack()
	if err != nil {
		return nil, err
	}
	peer, err := p.peer("go", "")
	if err != nil {
		return nil, err
	}
	peer.target = 0.35
	return peer, nil
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
	m := &pushes{bench: b, server: s, name: name, src: src, peers: peers, split: make([]samples, len(parts))}
	if err := m.warm(); err != nil {
		return err
	}
	for i := range rounds {
		if err := m.round(i, rounds); err != nil {
			return err
		}
	}
	m.report(language)
	return nil
}

// pushes measures pushes of one app in turn with its peers.
type pushes struct {
	*bench
	server *server
	name   string
	src    *source
	peers  []*peer

	first                      time.Duration // the first push, with cold caches
	walls, totals, client, own samples
	split                      []samples // as parts
}

// word is one that no compiler's cache on this machine has seen, in this run or an earlier one.
func (m *pushes) word(what any) string { return fmt.Sprintf("hello-%d-%v", m.began.UnixNano(), what) }

// push changes the app to say a word, pushes it, and wants the word as the answer.
func (m *pushes) push(word string) (time.Duration, *release.Timing, error) {
	if err := m.src.change(word); err != nil {
		return 0, nil, err
	}
	if err := m.commit(m.src); err != nil {
		return 0, nil, err
	}
	wall, t, err := m.server.push(m.name, m.src)
	if err != nil {
		return 0, nil, err
	}
	if status, body, err := m.server.get(m.server.client, m.name, "/"); err != nil || status != 200 || !strings.Contains(body, word) {
		return 0, nil, fmt.Errorf("after the push of %q the app answers %d %q (%v)", word, status, clip(body), err)
	}
	return wall, t, nil
}

// build changes a peer's source to say a word, and builds it.
func (m *pushes) build(p *peer, word string) (time.Duration, error) {
	if err := p.src.change(word); err != nil {
		return 0, err
	}
	return p.build()
}

// warm fills the caches of all: the first change after a cold build still does.
func (m *pushes) warm() (err error) {
	m.say("first push of %s", m.name)
	if m.first, _, err = m.push(m.word("first")); err != nil {
		return err
	}
	m.say("  live after %s", seconds(m.first.Seconds()))
	for i := range 2 {
		if _, _, err := m.push(m.word(fmt.Sprint("warm", i))); err != nil {
			return err
		}
	}
	for _, p := range m.peers {
		m.say("first build by %s", p.name)
		for i := range 2 {
			if _, err := m.build(p, m.word(fmt.Sprint("warm", i))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *pushes) round(i, rounds int) error {
	wall, t, err := m.push(m.word(i))
	if err != nil {
		return err
	}
	m.walls.add(wall)
	m.totals = append(m.totals, t.Total/1000)
	m.client = append(m.client, wall.Seconds()-t.Total/1000)
	m.own = append(m.own, (t.Total-t.Receive-t.Build)/1000)
	for j, p := range parts {
		m.split[j] = append(m.split[j], p.of(t)/1000)
	}
	line := fmt.Sprintf("  round %d of %d: gitd %s", i+1, rounds, seconds(wall.Seconds()))
	for _, p := range m.peers {
		d, err := m.build(p, m.word(i))
		if err != nil {
			return err
		}
		p.times.add(d)
		line += fmt.Sprintf(", %s %s", p.name, seconds(d.Seconds()))
	}
	m.say("%s", line)
	return nil
}

func (m *pushes) report(language string) {
	r := &m.bench.report
	r.title(language + ": warm one-line change")
	r.duration("push → live, as git push sees it", m.walls)
	for _, p := range m.peers {
		r.ratio("push → live against "+p.name, m.walls, p.times, p.target)
	}
	r.durationAtMost("gitd's own share (all but receive and the buildpacks)", m.own, 1)
	r.duration("total on the server", m.totals)
	for j, p := range parts {
		r.duration("  "+p.name, m.split[j])
	}
	r.duration("git client and SSH around it", m.client)
	r.text("first push, cold", seconds(m.first.Seconds()), "")
}
