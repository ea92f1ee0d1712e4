package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	errFull  = errors.New("the dead letters are full: re-send or discard some")
	errShare = fmt.Errorf("an app may have a quarter of them: %w", errFull)
)

// What apps and brokers may have of the room. A quarter each, so that one app that fails does not take it from the others; and apps together leave some
// to the events that gitd sends.
const (
	shareOf  = 4
	outOf    = 8                   // the part of the room that apps leave
	keepDead = 30 * 24 * time.Hour // as on one machine
	lookDead = time.Hour
)

// room is a number of letters with their bytes.
type room struct{ letters, bytes int64 }

// within says whether one more letter fits into a part of the whole.
func (r room) within(size, part, of int64) bool {
	return r.letters < MaxLetters*part/of && r.bytes+size <= maxBytes*part/of
}

// letters are a directory with a file for each. A file has its name only when its content is on the disk.
type letters struct {
	dir     string
	numbers *numbers

	mu     sync.Mutex
	index  []entry // by ID
	all    room
	apps   room           // of them all together
	shares map[int64]room // by ID of the app; 0 for what is on its way to brokers
}

// entry is a letter without its event, and the size of its file.
type entry struct {
	Letter
	size int64
}

func openLetters(dir string, n *numbers) (*letters, error) {
	l := &letters{dir: dir, numbers: n, shares: map[int64]room{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		id, is := strings.CutSuffix(f.Name(), ".json")
		if !is {
			if strings.HasSuffix(f.Name(), ".new") {
				_ = os.Remove(filepath.Join(dir, f.Name()))
			}
			continue
		}
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not a letter: %w", f.Name(), err)
		}
		letter, size, err := l.load(n)
		if err != nil {
			return nil, err
		}
		letter.Event = nil
		l.index = append(l.index, entry{letter, size})
		l.count(&letter, 1, size)
	}
	slices.SortFunc(l.index, func(a, b entry) int { return int(a.ID - b.ID) })
	return l, nil
}

// count adds to the room that is taken, or takes from it.
func (l *letters) count(letter *Letter, letters, bytes int64) {
	add := func(r room) room { return room{r.letters + letters, r.bytes + bytes} }
	l.all = add(l.all)
	share := letter.share()
	if share != 0 {
		l.apps = add(l.apps)
	}
	if l.shares[share] = add(l.shares[share]); l.shares[share].letters == 0 {
		delete(l.shares, share)
	}
}

// fits returns an error where there is no room for one more letter.
func (l *letters) fits(letter *Letter, size int64) error {
	share := letter.share()
	switch {
	case !l.all.within(size, 1, 1) || share != 0 && !l.apps.within(size, outOf-1, outOf):
		return errFull
	case !l.shares[share].within(size, 1, shareOf):
		return errShare
	}
	return nil
}

// share is of which app's room a letter takes; 0 for one that is on its way to a broker.
func (l *Letter) share() int64 {
	if l.Out {
		return 0
	}
	return max(l.AppID, 1)
}

func (l *letters) file(id int64) string {
	return filepath.Join(l.dir, strconv.FormatInt(id, 10)+".json")
}

func (l *letters) load(id int64) (letter Letter, size int64, err error) {
	data, err := os.ReadFile(l.file(id))
	if err != nil {
		return letter, 0, err
	}
	if err := json.Unmarshal(data, &letter); err != nil {
		return letter, 0, fmt.Errorf("the letter %d: %w", id, err)
	}
	return letter, int64(len(data)), nil
}

// add keeps a letter; it is on the disk when add returns, and has an ID and, if it had none, a number.
func (l *letters) add(letter *Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, err := l.numbers.next()
	if err != nil {
		return err
	}
	letter.ID, letter.Time = id, time.Now().UTC()
	if letter.Number == 0 {
		letter.Number = id
	}
	size, err := l.write(letter, 0)
	if err != nil {
		return err
	}
	short := *letter
	short.Event = nil
	l.index = append(l.index, entry{short, size})
	l.count(letter, 1, size)
	return nil
}

// set changes a letter that is there.
func (l *letters) set(letter *Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, there := l.find(letter.ID)
	if !there {
		return os.ErrNotExist
	}
	before := l.index[i].size
	size, err := l.write(letter, before)
	if err != nil {
		return err
	}
	short := *letter
	short.Event = nil
	l.index[i] = entry{short, size}
	l.count(letter, 0, size-before)
	return nil
}

// write writes the file of a letter that had another size before; the caller holds the lock.
func (l *letters) write(letter *Letter, before int64) (int64, error) {
	data, err := json.Marshal(letter)
	if err != nil {
		return 0, err
	}
	size := int64(len(data))
	if before == 0 {
		if err := l.fits(letter, size); err != nil {
			return 0, err
		}
	}
	return size, writeSynced(l.file(letter.ID), data)
}

// list returns letters without their events, the newest first. 0 stands for all apps, and for all events.
func (l *letters) list(app, number, before int64, limit int) (out []Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range slices.Backward(l.index) {
		if len(out) == limit {
			break
		}
		if e.ID < before && (app == 0 || e.AppID == app) && (number == 0 || e.Number == number) {
			out = append(out, e.Letter)
		}
	}
	return out
}

// waiting are the letters that are to be delivered once more.
func (l *letters) waiting() (out []Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.index {
		if e.Again != nil {
			out = append(out, e.Letter)
		}
	}
	return out
}

func (l *letters) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(l.index, id, func(e entry, id int64) int { return int(e.ID - id) })
}

func (l *letters) read(id int64) (Letter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.find(id); !there {
		return Letter{}, os.ErrNotExist
	}
	letter, _, err := l.load(id)
	return letter, err
}

func (l *letters) remove(id int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, there := l.find(id)
	if !there {
		return os.ErrNotExist
	}
	if err := os.Remove(l.file(id)); err != nil {
		return err
	}
	l.count(&l.index[i].Letter, -1, -l.index[i].size)
	l.index = slices.Delete(l.index, i, i+1)
	return syncDir(l.dir)
}

// brief is a letter without its event.
func (l *letters) brief(id int64) (Letter, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, there := l.find(id)
	if !there {
		return Letter{}, false
	}
	return l.index[i].Letter, true
}

// size is that of a letter's file; 0 where there is none.
func (l *letters) size(id int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, there := l.find(id); there {
		return l.index[i].size
	}
	return 0
}

// expire removes the letters that are dead since before a time.
func (l *letters) expire(before time.Time) {
	l.mu.Lock()
	var old []int64
	for _, e := range l.index {
		if e.Again == nil && e.Time.Before(before) && e.Died.Before(before) {
			old = append(old, e.ID)
		}
	}
	l.mu.Unlock()
	for _, id := range old {
		_ = l.remove(id) // the next look finds it again
	}
}

// writeSynced writes a file that is there as a whole or not at all.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(name + ".new")
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
