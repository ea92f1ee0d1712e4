package output

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Position is how far an output has been read. The zero value is its beginning. It outlives a change of files.
type Position struct {
	inode  uint64
	offset int64
}

// Reader reads an output line by line, the oldest first.
type Reader struct {
	files []*os.File // those not read yet, the oldest first
	buf   *bufio.Reader
	pos   Position
	at    time.Time // of the last line
	final bool
}

// longestRead is where a line is broken that an earlier gitd let become longer than LongestLine.
const longestRead = 64 << 10

// Open opens an output to read on from pos. An output that does not exist has no lines. Lines before the first time have the time
// begin. With final, an incomplete last line is a line too; else it is left for the next Reader.
func Open(name string, pos Position, begin time.Time, final bool) *Reader {
	r := &Reader{at: begin, final: final, pos: pos}
	for _, f := range openFiles(name) {
		if inodeOf(f) == pos.inode && pos.inode != 0 {
			r.closeFiles() // those before were read
		}
		r.files = append(r.files, f)
	}
	r.next()
	return r
}

// Changed says whether there may be more than what was read up to pos.
func Changed(name string, pos Position) bool {
	st, err := os.Stat(name)
	if err != nil {
		return false
	}
	return pos.inode == 0 || st.Sys().(*syscall.Stat_t).Ino != pos.inode || st.Size() != pos.offset
}

// End is the Position behind everything that an output has now.
func End(name string) Position {
	st, err := os.Stat(name)
	if err != nil {
		return Position{}
	}
	return Position{inode: st.Sys().(*syscall.Stat_t).Ino, offset: st.Size()}
}

// openFiles opens the files of an output, the older one first. The newer one is opened first: where they change meanwhile, it is the
// same file twice, and no file is missed.
func openFiles(name string) []*os.File {
	newer := openFile(name)
	older := openFile(name + Older)
	var files []*os.File
	if older != nil && newer != nil && inodeOf(older) == inodeOf(newer) {
		_ = older.Close()
		older = nil
	}
	for _, f := range []*os.File{older, newer} {
		if f != nil {
			files = append(files, f)
		}
	}
	return files
}

// openFile does not wait: a file of an earlier gitd belongs to the app, which may hold a lease on it.
func openFile(name string) *os.File {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return f
}

func inodeOf(f *os.File) uint64 {
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

// next begins with the next file. It returns false if there is none.
func (r *Reader) next() bool {
	if len(r.files) == 0 {
		return false
	}
	f := r.files[0]
	if ino := inodeOf(f); ino != r.pos.inode {
		r.pos = Position{inode: ino}
	}
	if first := firstData(f); first > r.pos.offset {
		r.pos.offset = first
	}
	if _, err := f.Seek(r.pos.offset, io.SeekStart); err != nil {
		return false
	}
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(f, longestRead)
	} else {
		r.buf.Reset(f)
	}
	return true
}

// firstData is where a file begins behind the hole that an earlier gitd made to shorten it.
func firstData(f *os.File) int64 {
	off, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	if err != nil {
		return 0
	}
	return off
}

// Next returns the next line, or io.EOF.
func (r *Reader) Next() (Line, error) {
	for len(r.files) > 0 {
		b, err := r.buf.ReadSlice('\n')
		complete := err == nil || errors.Is(err, bufio.ErrBufferFull)
		if len(b) > 0 && (complete || r.final || len(r.files) > 1) {
			r.pos.offset += int64(len(b))
			return r.line(b), nil
		}
		if complete {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return Line{}, err
		}
		if len(r.files) == 1 {
			break
		}
		_ = r.files[0].Close()
		r.files = r.files[1:]
		if !r.next() {
			break
		}
	}
	return Line{}, io.EOF
}

func (r *Reader) line(b []byte) Line {
	at, text, ok := parse(bytes.TrimSuffix(b, []byte{'\n'}))
	if ok {
		r.at = at
	}
	return Line{Time: r.at, Timed: ok, Text: string(bytes.TrimSuffix(text, []byte{'\r'}))}
}

func (r *Reader) closeFiles() {
	for _, f := range r.files {
		_ = f.Close()
	}
	r.files = nil
}

// Close closes the files and returns how far they were read.
func (r *Reader) Close() Position {
	r.closeFiles()
	return r.pos
}

// Remove removes an output.
func Remove(name string) error {
	err := os.Remove(name + Older)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(name))
}

// mostTail is how far back Tail looks in a file.
const mostTail = 1 << 20

// Tail returns the last n lines of an output, or fewer where they are long.
func Tail(name string, n int, begin time.Time) []Line {
	files := openFiles(name)
	var all []Line
	for i := len(files) - 1; i >= 0 && len(all) < n; i-- {
		all = append(tailOf(files[i], n-len(all), begin), all...)
	}
	for _, f := range files {
		_ = f.Close()
	}
	return all
}

// tailOf reads the last lines of one file.
func tailOf(f *os.File, n int, begin time.Time) []Line {
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(st.Size()-mostTail, firstData(f), 0)
	if from > st.Size() {
		return nil
	}
	b := make([]byte, st.Size()-from)
	k, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	text := bytes.TrimSuffix(b[:k], []byte{'\n'})
	if len(text) == 0 {
		return nil
	}
	lines := bytes.Split(text, []byte{'\n'})
	if from > 0 && len(lines) > 1 {
		lines = lines[1:] // begins somewhere in a line
	}
	r := &Reader{at: begin}
	var out []Line
	for _, l := range lines[max(0, len(lines)-n):] {
		out = append(out, r.line(l))
	}
	return out
}
