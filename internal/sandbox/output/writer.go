package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Limits bound an output.
type Limits struct {
	Size int64 // bytes on the disk, both files together; 0 for 32 MiB, at least 256 KiB
	Rate int64 // bytes a second that are kept for long; 0 for 2 MiB. What is above it is left out, and told in a line.
}

const (
	defaultSize = 32 << 20
	leastSize   = 256 << 10
	defaultRate = 2 << 20
	burst       = 4                // seconds of the rate that may come at once
	waiting     = 256 << 10        // bytes that wait for the disk
	partial     = time.Second      // how long a line that does not end is waited for
	floodSpeed  = 64 << 20         // bytes a second that are read while most is left out: a flood must not take a processor
	floodSlice  = floodSpeed / 250 // read at once, in 4 ms
	lastKept    = 4 << 10          // bytes of what is left out that are kept: last words are the ones that count
)

// Pipe is where a Writer reads. An *os.File in non-blocking mode is one.
type Pipe interface {
	io.Reader
	SetReadDeadline(t time.Time) error
}

// Writer copies lines from a pipe to an output. It always reads on: a disk that is full or slow costs lines, and never stops the program
// that writes into the pipe.
type Writer struct {
	limits Limits
	file   *file
	now    func() time.Time
	sleep  func(time.Duration)

	tokens   int64 // bytes that may be kept at once
	refilled time.Time
	leaving  string // why lines are left out now; "" if they are not
	lines    int64  // left out
	bytes    int64
	last     []byte // the last lines of those: they are written in the end
	stamped  []byte
}

// NewWriter returns a Writer to the output with that name. Nothing is written before Copy.
func NewWriter(name string, l Limits) *Writer {
	if l.Size <= 0 {
		l.Size = defaultSize
	}
	l.Size = max(l.Size, leastSize)
	if l.Rate <= 0 {
		l.Rate = defaultRate
	}
	w := &Writer{limits: l, now: time.Now, sleep: time.Sleep, tokens: burst * l.Rate, stamped: make([]byte, 0, LongestLine+len(TimeLayout)+2)}
	w.file = newFile(name, l.Size/2)
	return w
}

// Copy reads until the end of the pipe, or until it is closed. It returns when what it read is written, or limit is over: then what
// the disk did not take is lost.
func (w *Writer) Copy(from Pipe, limit time.Duration) error {
	w.refilled = w.now()
	go w.file.run()
	err := w.read(from)
	w.resume(w.now(), true)
	w.file.close(limit)
	return err
}

func (w *Writer) read(from Pipe) error {
	buf := make([]byte, LongestLine+32<<10)
	rest, slice := 0, 0 // bytes of a line without end; bytes read since the last pause in a flood
	began := w.now()
	for {
		var deadline time.Time // none
		if rest > 0 || w.leaving != "" {
			deadline = time.Now().Add(partial)
		}
		_ = from.SetReadDeadline(deadline)
		n, err := from.Read(buf[rest:])
		now := w.now()
		w.resume(now, false)
		rest = w.take(now, buf, rest+n)
		if err != nil && rest > 0 {
			w.line(now, buf[:rest])
			rest = 0
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if w.leaving == "" {
			slice, began = 0, now
		} else if slice += n; slice >= floodSlice {
			w.sleep(4*time.Millisecond - now.Sub(began))
			slice, began = 0, w.now()
		}
	}
}

// take writes the complete lines of buf[:n], moves what is left to the front and returns its length.
func (w *Writer) take(now time.Time, buf []byte, n int) int {
	b := buf[:n]
	for {
		if w.leaving != "" { // as fast as can be: this is a flood
			i := bytes.LastIndexByte(b, '\n') + 1
			w.drop(b[:i])
			b = b[i:]
		}
		i := bytes.IndexByte(b, '\n')
		if i > LongestLine || i < 0 && len(b) >= LongestLine {
			w.line(now, b[:LongestLine])
			b = b[LongestLine:]
			continue
		}
		if i < 0 {
			return copy(buf, b)
		}
		w.line(now, b[:i])
		b = b[i+1:]
	}
}

// line keeps a line, or leaves it out.
func (w *Writer) line(now time.Time, text []byte) {
	if w.leaving != "" {
		w.drop(append(append(w.stamped[:0], text...), '\n'))
		return
	}
	text = bytes.TrimSuffix(text, []byte{'\r'})
	w.stamped = appendLine(w.stamped[:0], now, text)
	cost := int64(len(w.stamped))
	if cost > w.tokens {
		w.leaving = fmt.Sprintf("the app writes more than %d KiB a second", w.limits.Rate>>10)
	} else if !w.file.add(w.stamped) {
		w.leaving = slowDisk
	}
	if w.leaving != "" {
		w.drop(append(append(w.stamped[:0], text...), '\n'))
		return
	}
	w.tokens -= cost
}

// slowDisk stands for what the file says is wrong.
const slowDisk = "disk"

// drop leaves whole lines out.
func (w *Writer) drop(b []byte) {
	w.lines += int64(bytes.Count(b, []byte{'\n'}))
	w.bytes += int64(len(b))
	if len(b) < lastKept {
		w.last = append(w.last, b...)
		b = w.last
	}
	if n := len(b) - lastKept; n > 0 {
		b = b[n+1+bytes.IndexByte(b[n:], '\n'):]
	}
	w.last = append(w.last[:0], b...)
}

// resume gives back what time has earned, and ends the leaving out where there is room again: not at once, or a flood would be told
// line by line. In the end it is told in any case.
func (w *Writer) resume(now time.Time, end bool) {
	if d := now.Sub(w.refilled); d > 0 {
		w.tokens = min(burst*w.limits.Rate, w.tokens+int64(d.Seconds()*float64(w.limits.Rate)))
		w.refilled = now
	} else if d < 0 { // the clock was set back
		w.refilled = now
	}
	if w.leaving == "" || !end && (w.tokens < w.limits.Rate || !w.file.empty()) {
		return
	}
	why := w.leaving
	if why == slowDisk {
		why = w.file.trouble()
	}
	w.lines -= int64(bytes.Count(w.last, []byte{'\n'}))
	w.bytes -= int64(len(w.last))
	if w.lines > 0 {
		note := fmt.Sprintf("gitd: %d lines (%d KiB) are left out here: %s", w.lines, (w.bytes+1023)>>10, why)
		w.file.add(appendLine(nil, now, []byte(note)))
	}
	last := w.last
	w.leaving, w.lines, w.bytes, w.last = "", 0, 0, nil
	for line := range bytes.Lines(last) {
		w.line(now, bytes.TrimSuffix(line, []byte{'\n'}))
	}
	if w.leaving == "" {
		w.last = last[:0]
	}
}
