package main

import (
	"fmt"
	"path/filepath"
)

// languages are the examples that are measured, with the targets of gitd's time over pack's after a one-line change.
var languages = []struct {
	example, name string
	warm          float64
}{
	{"go", "Go", 0.25}, {"node", "Node.js", 0.3}, {"python", "Python", 0.4}, {"ruby", "Ruby", 0.5}, {"php", "PHP", 0.5}, {"java", "Java", 0.5},
	{"rust", "Rust", 0.5}, {"bun", "Bun", 0.5}, {"deno", "Deno", 0.5}, {"static", "Static site", 0.5},
}

// coldTarget is of the time of a first push over the time of a first build by pack, both with caches that are empty.
const coldTarget = 0.8

// languageSections has a section for each language.
func languageSections() (all []section) {
	for i, l := range languages {
		all = append(all, section{"language-" + l.example, l.name + ": a first push and one-line changes of the example, against pack build --publish alone, with Docker",
			[]string{"git", "ssh", "go", "dockerd"}, func(b *bench) error { return b.language(i) }})
	}
	return all
}

// language measures first pushes and one-line changes against pack with the same builder. The first app of a language on a server, and another one later:
// what the server has fetched for the one it has for the other, while each app of pack has caches of its own.
func (b *bench) language(i int) error {
	l := languages[i]
	m, err := b.newLanguage(l.example, "")
	if err != nil {
		return err
	}
	first, cold, err := m.both("first", l.name+", first push")
	if err != nil {
		return err
	}
	rounds := b.rounds(4, 2)
	var warm, peer samples
	for i := -1; i < rounds; i++ { // the first change after a cold build still fills caches
		wall, alone, err := m.both(i, fmt.Sprintf("%s, round %d of %d", l.name, i+1, rounds))
		if err != nil {
			return err
		}
		if i >= 0 {
			warm, peer = append(warm, wall...), append(peer, alone...)
		}
	}
	if m, err = b.newLanguage(l.example, "another-"); err != nil {
		return err
	}
	another, coldAgain, err := m.both("another", l.name+", first push of another app")
	if err != nil {
		return err
	}
	if !b.done["languages"] {
		b.done["languages"] = true
		b.report.title("Languages: push → live against pack build --publish alone, with the same builder")
	}
	b.report.ratio(l.name+", first push", first, cold, coldTarget)
	b.report.ratio(l.name+", first push of another app", another, coldAgain, coldTarget)
	b.report.ratio(l.name+", one-line change", warm, peer, l.warm)
	return nil
}

// newLanguage is an app that neither gitd nor pack has seen.
func (b *bench) newLanguage(example, prefix string) (*pushes, error) {
	s, err := b.useServer()
	if err != nil {
		return nil, err
	}
	pack, err := b.usePack()
	if err != nil {
		return nil, err
	}
	p, err := pack.peer(example, prefix)
	if err != nil {
		return nil, err
	}
	name := prefix + "language-" + example
	src, err := b.newSource(name, filepath.Join(b.repo, "examples", example))
	if err != nil {
		return nil, err
	}
	return &pushes{bench: b, server: s, name: name, src: src, peers: []*peer{p}}, nil
}

// both pushes a change, then has the peer build it.
func (m *pushes) both(what any, title string) (gitd, peer samples, err error) {
	wall, _, err := m.push(m.word(what))
	if err != nil {
		return nil, nil, err
	}
	alone, err := m.build(m.peers[0], m.word(what))
	if err != nil {
		return nil, nil, err
	}
	gitd.add(wall)
	peer.add(alone)
	m.say("  %s: gitd %s, %s %s", title, seconds(wall.Seconds()), m.peers[0].name, seconds(alone.Seconds()))
	return gitd, peer, nil
}
