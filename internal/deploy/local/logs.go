package local

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox/output"

	"golang.org/x/sys/unix"
)

// The logs of instances are outputs (package output): logs/SERVICE/REVISION/START-ID.log, START being the time, so that names sort by
// age. The container's shim writes them, also while no gitd runs.
const (
	logTime   = "20060102T150405.000000"
	logSuffix = ".log"
	// keptLogs is how many logs a revision keeps, the running instances' included only as far as they are the newest.
	keptLogs    = 10
	followEvery = 200 * time.Millisecond
	tailLines   = 20 // of the log of an instance that failed
)

func (p *Platform) logDir(service, revision string) string {
	return filepath.Join(p.opts.Dir, "logs", service, revision)
}

func logName(now time.Time, short string) string {
	return now.UTC().Format(logTime) + "-" + short + logSuffix
}

// makeLog creates the folder of an instance's log. On a full disk it is missing, and the app serves without a log.
func makeLog(file string) error {
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

// appendLog adds a line of gitd's own to the log of an instance that has ended.
func (p *Platform) appendLog(file, line string) {
	if err := output.Append(file, time.Now(), line); err != nil {
		p.opts.Log("deploy: the log %s cannot be written: %v", file, err)
	}
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
			_ = output.Remove(f)
		}
	}
}

// logsIn returns the logs in a folder, the oldest first.
func logsIn(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*"+logSuffix)) // sorted
	return files
}

// logBegin is the time in a log's name.
func logBegin(file string) time.Time {
	start, _, _ := strings.Cut(filepath.Base(file), "-")
	t, _ := time.Parse(logTime, start)
	return t
}

// tailOf returns the last lines of a log, for an error.
func tailOf(file string) (lines []string) {
	for _, l := range output.Tail(file, tailLines, logBegin(file)) {
		lines = append(lines, app.Printable(l.Text))
	}
	return lines
}

// source is one log that Logs reads.
type source struct {
	file   string
	prefix string
	begin  time.Time
	pos    output.Position
}

// Logs implements deploy.Platform. Lines that an earlier gitd kept have no time.
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
		if err := merge(ctx, sources, out, !o.Follow); err != nil {
			return err
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
				s = &source{file: f, prefix: fmt.Sprintf("[%s %s] ", filepath.Base(d), short), begin: logBegin(f)}
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

// entry is a line of one of the sources.
type entry struct {
	output.Line
	prefix string
}

func (e *entry) write(w io.Writer) error {
	at := ""
	if e.Timed {
		at = e.Time.UTC().Format(deploy.LogTime) + " "
	}
	_, err := io.WriteString(w, at+e.prefix+app.Printable(e.Text)+"\n")
	return err
}

// tailAll writes the last n lines of all and moves every source to its end.
func tailAll(sources []*source, n int, w io.Writer) error {
	changed := make(map[*source]time.Time, len(sources))
	order := make(map[string]int, len(sources)) // by prefix: of lines at the same time, those of the older instance come first
	for i, s := range sources {
		order[s.prefix] = i
		s.pos = output.End(s.file)
		if st, err := os.Stat(s.file); err == nil {
			changed[s] = st.ModTime()
		}
	}
	byChange := slices.SortedStableFunc(slices.Values(sources), func(a, b *source) int { return changed[b].Compare(changed[a]) })
	var lines []entry
	for _, s := range byChange {
		if len(lines) >= n && changed[s].Before(lines[len(lines)-n].Time) {
			break // what it has is older
		}
		for _, l := range output.Tail(s.file, n, s.begin) {
			lines = append(lines, entry{l, s.prefix})
		}
		slices.SortStableFunc(lines, func(a, b entry) int {
			return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(order[a.prefix], order[b.prefix]))
		})
		lines = lines[max(0, len(lines)-n):]
	}
	for i := range lines {
		if err := lines[i].write(w); err != nil {
			return err
		}
	}
	return nil
}

// cursor is a source that is being read.
type cursor struct {
	*source
	reader *output.Reader
	next   entry
}

// advance reads the next line. At the end it returns false, and notes how far the source was read.
func (c *cursor) advance() (bool, error) {
	l, err := c.reader.Next()
	if err == nil {
		c.next = entry{l, c.prefix}
		return true, nil
	}
	c.pos = c.reader.Close()
	if err == io.EOF { //nolint:errorlint // Next returns that very value
		err = nil
	}
	return false, err
}

// merge writes what came to the sources since the last call, by time. They are in the order of their begins: one is opened when its
// time has come, so that few are open at once. With all, incomplete last lines are written as well.
func merge(ctx context.Context, sources []*source, w io.Writer, all bool) error {
	var open []*cursor
	defer func() {
		for _, c := range open {
			c.pos = c.reader.Close()
		}
	}()
	for ctx.Err() == nil {
		var first *cursor
		for _, c := range open {
			if first == nil || c.next.Time.Before(first.next.Time) {
				first = c
			}
		}
		if len(sources) > 0 && (first == nil || !first.next.Time.Before(sources[0].begin)) {
			s := sources[0]
			sources = sources[1:]
			if !output.Changed(s.file, s.pos) {
				continue
			}
			c := &cursor{source: s, reader: output.Open(s.file, s.pos, s.begin, all)}
			more, err := c.advance()
			if err != nil {
				return err
			}
			if more {
				open = append(open, c)
			}
			continue
		}
		if first == nil {
			return nil
		}
		if err := first.next.write(w); err != nil {
			return err
		}
		more, err := first.advance()
		if !more {
			open = slices.DeleteFunc(open, func(c *cursor) bool { return c == first })
		}
		if err != nil {
			return err
		}
	}
	return nil
}
