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

var errFull = errors.New("the dead letters are full: re-send or discard some")

// letters are a directory with a file for each. A file has its name only when its content is on the disk.
type letters struct {
	dir     string
	numbers *numbers

	mu    sync.Mutex
	index []entry // by ID
	bytes int64
}

// entry is a letter without its event, and the size of its file.
type entry struct {
	Letter
	size int64
}

func openLetters(dir string, n *numbers) (*letters, error) {
	l := &letters{dir: dir, numbers: n}
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
		l.bytes += size
	}
	slices.SortFunc(l.index, func(a, b entry) int { return int(a.ID - b.ID) })
	return l, nil
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
	size, err := l.write(letter, l.index[i].size)
	if err != nil {
		return err
	}
	short := *letter
	short.Event = nil
	l.index[i] = entry{short, size}
	return nil
}

// write writes the file of a letter that had another size before; the caller holds the lock.
func (l *letters) write(letter *Letter, before int64) (int64, error) {
	data, err := json.Marshal(letter)
	if err != nil {
		return 0, err
	}
	size := int64(len(data))
	if before == 0 && (len(l.index) >= MaxLetters || l.bytes+size > maxBytes) {
		return 0, errFull
	}
	if err := writeSynced(l.file(letter.ID), data); err != nil {
		return 0, err
	}
	l.bytes += size - before
	return size, nil
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
	l.bytes -= l.index[i].size
	l.index = slices.Delete(l.index, i, i+1)
	return syncDir(l.dir)
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
