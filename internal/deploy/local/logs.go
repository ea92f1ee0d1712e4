package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// The logs of instances are files: logs/SERVICE/REVISION/START-ID.log, START being the time, so that names sort by age.
// The container's process appends to its file by itself, also while no gitd runs.
const (
	logTime   = "20060102T150405.000000"
	logSuffix = ".log"
	// keptLogs is how many logs a revision keeps, the running instances' included only as far as they are the newest.
	keptLogs = 10
	// longestLine is what is passed on of a line that does not end.
	longestLine = 64 << 10
	followEvery = 200 * time.Millisecond
)

func (p *Platform) logDir(service, revision string) string {
	return filepath.Join(p.opts.Dir, "logs", service, revision)
}

func logName(now time.Time, short string) string {
	return now.UTC().Format(logTime) + "-" + short + logSuffix
}

func makeLog(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// appendLog adds a line of gitd's own to an instance's log.
func appendLog(file, line string) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	_, _ = f.WriteString(line + "\n")
	_ = f.Close()
}

// trimLog keeps the log within its limit: the oldest half is given back to the disk by punching a hole. Offsets stay, so
// that neither who appends nor who follows notices.
func (in *instance) trimLog(limit int64) {
	st, err := os.Stat(in.log)
	if err != nil || st.Size()-in.trimmed <= limit {
		return
	}
	f, err := os.OpenFile(in.log, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	const block = 64 << 10
	hole := (st.Size() - limit/2) / block * block
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, hole); err != nil {
		in.revision.p.opts.Log("deploy: the log %s cannot be shortened: %v", in.log, err)
		hole = st.Size() // no new attempt before the limit is reached again
	}
	in.trimmed = hole
}

// trimLogs removes the oldest logs of a revision that are too many and belong to no instance.
func (p *Platform) trimLogs(service, revision string) {
	files := logsIn(p.logDir(service, revision))
	if len(files) <= keptLogs {
		return
	}
	inUse := map[string]bool{}
	if r, err := p.find(service, revision); err == nil {
		r.mu.Lock()
		for _, in := range r.instances {
			inUse[in.log] = true
		}
		for w := range r.workers {
			inUse[w.log] = true
		}
		r.mu.Unlock()
	}
	for _, f := range files[:len(files)-keptLogs] {
		if !inUse[f] {
			_ = os.Remove(f)
		}
	}
}

// logsIn returns the logs in a folder, the oldest first.
func logsIn(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*"+logSuffix)) // sorted
	return files
}

// tailOf returns the last lines of a log, for an error.
func tailOf(file string) []string {
	lines, err := lastLines(file, 20)
	if err != nil {
		return nil
	}
	for i := range lines {
		lines[i] = app.Printable(lines[i])
	}
	return lines
}

// lastLines reads backwards until it has n lines, or a mebibyte.
func lastLines(file string, n int) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(st.Size()-1<<20, firstData(f))
	b := make([]byte, st.Size()-from)
	k, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	text := strings.TrimSuffix(string(b[:k]), "\n")
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	if from > 0 && len(lines) > 1 {
		lines = lines[1:] // begins somewhere in a line
	}
	return lines[max(0, len(lines)-n):], nil
}

// firstData is where the log begins behind the hole that trimLog made.
func firstData(f *os.File) int64 {
	off, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	if err != nil {
		return 0
	}
	return off
}

// source is one log that Logs reads.
type source struct {
	file   string
	prefix string
	offset int64
	rest   []byte // a line that is not complete
}

// Logs implements deploy.Platform. Each line has the form "[hello-v3 abc12] text", or, of a worker,
// "[hello-v3 worker.1] text". Instances write without a time, so the
// history comes instance by instance, in the order of their starts.
func (p *Platform) Logs(ctx context.Context, service string, o deploy.LogOptions, w io.Writer) error {
	if o.Revision != "" {
		if _, err := p.find(service, o.Revision); err != nil {
			return err
		}
	} else if _, err := p.Get(ctx, service); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 32<<10)
	known := map[string]*source{}
	sources := p.sources(service, o.Revision, known)
	if o.Tail > 0 {
		if err := tailAll(sources, o.Tail, out); err != nil {
			return err
		}
	}
	for {
		for _, s := range sources {
			if err := s.copy(ctx, out, !o.Follow); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if !o.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		sources = p.sources(service, o.Revision, known)
		if len(sources) == 0 {
			if _, err := p.Get(ctx, service); err != nil {
				return nil // it was deleted
			}
		}
	}
}

// sources returns the logs that there are now, the oldest first; those that known has keep their position.
func (p *Platform) sources(service, revision string, known map[string]*source) []*source {
	var dirs []string
	if revision != "" {
		dirs = []string{p.logDir(service, revision)}
	} else {
		entries, _ := os.ReadDir(p.logDir(service, ""))
		for _, e := range entries {
			dirs = append(dirs, p.logDir(service, e.Name()))
		}
	}
	var out []*source
	present := map[string]bool{}
	for _, d := range dirs {
		for _, f := range logsIn(d) {
			present[f] = true
			s := known[f]
			if s == nil {
				name := strings.TrimSuffix(filepath.Base(f), logSuffix)
				_, short, _ := strings.Cut(name, "-")
				s = &source{file: f, prefix: fmt.Sprintf("[%s %s] ", filepath.Base(d), short)}
				known[f] = s
			}
			out = append(out, s)
		}
	}
	for f := range known {
		if !present[f] {
			delete(known, f)
		}
	}
	slices.SortStableFunc(out, func(a, b *source) int { return strings.Compare(filepath.Base(a.file), filepath.Base(b.file)) })
	return out
}

// tailAll writes the last n lines of all and moves every source to its end.
func tailAll(sources []*source, n int, w io.Writer) error {
	var lines []string
	for i := len(sources) - 1; i >= 0; i-- {
		s := sources[i]
		st, err := os.Stat(s.file)
		if err != nil {
			continue
		}
		s.offset = st.Size()
		if len(lines) >= n {
			continue
		}
		last, err := lastLines(s.file, n-len(lines))
		if err != nil {
			continue
		}
		for k := range last {
			last[k] = s.prefix + app.Printable(last[k])
		}
		lines = append(last, lines...)
	}
	for _, l := range lines {
		if _, err := io.WriteString(w, l+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// copy writes the complete lines that came since the last call; with all, an incomplete last line as well.
func (s *source) copy(ctx context.Context, w io.Writer, all bool) error {
	st, err := os.Stat(s.file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == s.offset && !all {
		return nil
	}
	f, err := os.Open(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if first := firstData(f); first > s.offset { // what was there is gone
		s.offset, s.rest = first, nil
	}
	if _, err := f.Seek(s.offset, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		s.offset += int64(n)
		s.rest = append(s.rest, buf[:n]...)
		for {
			i := bytes.IndexByte(s.rest, '\n')
			if i < 0 && len(s.rest) < longestLine {
				break
			}
			if i < 0 {
				i = len(s.rest)
			}
			if err := s.line(w, s.rest[:i]); err != nil {
				return err
			}
			s.rest = s.rest[min(i+1, len(s.rest)):]
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if all && len(s.rest) > 0 {
		err := s.line(w, s.rest)
		s.rest = nil
		return err
	}
	return nil
}

func (s *source) line(w io.Writer, b []byte) error {
	_, err := io.WriteString(w, s.prefix+app.Printable(strings.TrimSuffix(string(b), "\r"))+"\n")
	return err
}
