package lfs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/disk"
)

// needsDir is where it is noted what commits need: needs/COMMIT has the names of objects, one a line. A commit becomes live by a push, and without one by a rollback or the
// promotion of a preview, so that the notes of the newest maxNotes commits are kept.
const (
	needsDir = "needs"
	maxNotes = 100
)

// Note notes which objects a commit needs that may be live one day.
func (s *Store) Note(commit string, oids []string) error {
	if len(oids) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := filepath.Join(s.dir, needsDir)
	if err := errors.Join(mkdir(s.dir), mkdir(dir)); err != nil {
		return err
	}
	if err := disk.ReplaceBytes(filepath.Join(dir, commit), 0o644, []byte(strings.Join(oids, "\n"))); err != nil {
		return err
	}
	return s.forget(dir)
}

// forget removes the oldest notes that are too many, of commits that are not live.
func (s *Store) forget(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= maxNotes {
		return err
	}
	live := s.live()
	type note struct {
		commit string
		at     time.Time
	}
	var notes []note
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !slices.Contains(live, e.Name()) {
			notes = append(notes, note{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(notes, func(a, b note) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.commit, b.commit)) })
	for _, n := range notes[:min(len(notes), len(entries)-maxNotes)] {
		if err := os.Remove(filepath.Join(dir, n.commit)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// needed returns the objects that live commits need.
func (s *Store) needed() (map[string]bool, error) {
	needed := map[string]bool{}
	for _, commit := range s.live() {
		b, err := os.ReadFile(filepath.Join(s.dir, needsDir, commit))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for oid := range strings.FieldsSeq(string(b)) {
			needed[oid] = true
		}
	}
	return needed, nil
}

// Collect removes the objects that nothing has needed for as long as objects are kept.
func (s *Store) Collect() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.measure(); err != nil {
		return err
	}
	return s.evict(1<<62, time.Now().Add(-s.limits.Keep))
}
