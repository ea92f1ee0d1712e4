package project

import (
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// Selector decides for many files of one source, one after the other, whether the build sees them. It remembers the progress of the patterns in the
// folders of the last file. Its total work is bounded.
type Selector struct {
	files  Files
	levels []level // of the root, and of each folder on the way to the last file
	depth  int     // levels in use
	name   []rune
	left   int64 // steps
}

// level is the progress of the patterns in a folder.
type level struct {
	name    string
	decided int     // the last pattern that matches the folder or one above it; -1 for none
	places  []place // of the patterns after that one, in order
}

// place means that names below the folder are compared with that part of that pattern.
type place struct{ pattern, part int }

// Select returns a Selector for the files of one source.
func (f Files) Select() *Selector {
	s := &Selector{files: f, levels: []level{{decided: -1}}, depth: 1, left: maxWork}
	for i := range f.patterns {
		s.levels[0].places = s.enter(s.levels[0].places, place{i, 0})
	}
	return s
}

// Keeps reports whether the build sees the file; path is relative to the root of the source. The last pattern that matches the file or a folder
// above it decides. It is fastest for files in the order of a walk of the source. It returns an *app.Error if the patterns take too much work for
// that many files.
func (s *Selector) Keeps(path string) (bool, error) {
	folders := strings.Split(path, "/")
	file := folders[len(folders)-1]
	folders = folders[:len(folders)-1]
	known := 1
	for known < s.depth && known <= len(folders) && s.levels[known].name == folders[known-1] {
		known++
	}
	s.depth = known
	for _, name := range folders[known-1:] {
		s.descend(name)
	}
	decided := s.match(file)
	if s.left < 0 {
		return false, app.Errorf(app.CodeLimitExceeded, "give fewer or simpler patterns, with fewer asterisks", "%s: include and exclude take too much work for this many files", File)
	}
	matched := decided >= 0 && !s.files.patterns[decided].negated
	return matched == s.files.included, nil
}

// match returns the last pattern that matches a file of the current folder, or a folder above it; -1 for none.
func (s *Selector) match(file string) int {
	in := &s.levels[s.depth-1]
	s.take(file)
	for i := len(in.places) - 1; i >= 0 && s.left >= 0; i-- {
		at := in.places[i]
		p := &s.files.patterns[at.pattern]
		s.left--
		if at.part == len(p.parts)-1 && !p.folder && p.parts[at.part].tokens.match(s.name, &s.left) {
			return at.pattern
		}
	}
	return in.decided
}

// descend enters a folder of the current one.
func (s *Selector) descend(name string) {
	if s.depth == len(s.levels) {
		s.levels = append(s.levels, level{})
	}
	from, to := &s.levels[s.depth-1], &s.levels[s.depth]
	s.depth++
	s.take(name)
	to.name, to.decided, to.places = name, from.decided, to.places[:0]
	for _, at := range from.places {
		if s.left < 0 {
			return
		}
		p := &s.files.patterns[at.pattern]
		s.left--
		switch {
		case p.parts[at.part].any:
			to.places = s.enter(to.places, at)
		case !p.parts[at.part].tokens.match(s.name, &s.left):
		case at.part == len(p.parts)-1:
			to.decided = at.pattern
		default:
			to.places = s.enter(to.places, place{at.pattern, at.part + 1})
		}
	}
	// Patterns up to the one that decided cannot change that.
	keep := 0
	for keep < len(to.places) && to.places[keep].pattern <= to.decided {
		keep++
	}
	to.places = append(to.places[:0], to.places[keep:]...)
}

// enter adds a place, and the next one if that part may match no name at all.
func (s *Selector) enter(places []place, at place) []place {
	for {
		if n := len(places); n == 0 || places[n-1].pattern < at.pattern || places[n-1].part < at.part {
			places = append(places, at)
		}
		if !s.files.patterns[at.pattern].parts[at.part].any {
			return places
		}
		at.part++
	}
}

func (s *Selector) take(name string) {
	s.name = s.name[:0]
	for _, c := range name {
		s.name = append(s.name, c)
	}
}
