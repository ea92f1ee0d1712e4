package main

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

// language measures a first push and one-line changes against pack with the same builder.
func (b *bench) language(i int) error {
	l := languages[i]
	s, err := b.useServer()
	if err != nil {
		return err
	}
	pack, err := b.usePack()
	if err != nil {
		return err
	}
	p, err := pack.peer(l.example, l.warm)
	if err != nil {
		return err
	}
	name := "language-" + l.example
	src, err := b.newSource(name, p.src.dir)
	if err != nil {
		return err
	}
	m := &pushes{bench: b, server: s, name: name, src: src, peers: []*peer{p}}
	var gitd, cold samples
	wall, _, err := m.push(m.word("first"))
	if err != nil {
		return err
	}
	gitd.add(wall)
	if wall, err = m.build(p, m.word("first")); err != nil {
		return err
	}
	cold.add(wall)
	b.say("  %s, cold: gitd %s, %s %s", l.name, seconds(gitd[0]), p.name, seconds(cold[0]))
	rounds := b.rounds(4, 2)
	for i := -1; i < rounds; i++ { // the first change after a cold build still fills caches
		wall, _, err := m.push(m.word(i))
		if err != nil {
			return err
		}
		peer, err := m.build(p, m.word(i))
		if err != nil {
			return err
		}
		if i < 0 {
			continue
		}
		m.walls.add(wall)
		p.times.add(peer)
		b.say("  %s, round %d of %d: gitd %s, %s %s", l.name, i+1, rounds, seconds(wall.Seconds()), p.name, seconds(peer.Seconds()))
	}
	if !b.done["languages"] {
		b.done["languages"] = true
		b.report.title("Languages: push → live against pack build --publish alone, with the same builder")
	}
	b.report.ratio(l.name+", first push", gitd, cold, coldTarget)
	b.report.ratio(l.name+", one-line change", m.walls, p.times, l.warm)
	return nil
}
