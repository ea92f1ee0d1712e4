package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a pipe that gives one string after the other, and moves the clock between them.
type script struct {
	steps []step
	now   time.Time
	file  *file // nil: the disk is not waited for
}

type step struct {
	text  string
	after time.Duration // before it comes
}

func (s *script) SetReadDeadline(time.Time) error { return nil }

func (s *script) Read(b []byte) (int, error) {
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	for s.file != nil && !s.file.empty() { // the clock is not the disk's
		time.Sleep(10 * time.Microsecond)
	}
	st := &s.steps[0]
	s.now = s.now.Add(st.after)
	st.after = 0
	if st.text == "" {
		s.steps = s.steps[1:]
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, st.text)
	if st.text = st.text[n:]; st.text == "" {
		s.steps = s.steps[1:]
	}
	return n, nil
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)

// write writes steps to an output.
func write(t testing.TB, name string, l Limits, steps ...step) {
	t.Helper()
	s := &script{steps: steps, now: start}
	w := NewWriter(name, l)
	s.file = w.file
	w.now = func() time.Time { return s.now }
	w.sleep = func(d time.Duration) { s.now = s.now.Add(d) }
	if err := w.Copy(s, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func all(t testing.TB, name string) []Line {
	t.Helper()
	r := Open(name, Position{}, start, true)
	defer r.Close()
	var lines []Line
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
}

func texts(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s|", l.Time.Sub(start), l.Text)
	}
	return b.String()
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", LongestLine)
	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"none":                    {nil, ""},
		"lines":                   {[]step{{"a\nb\r\n\nc\n", time.Second}}, "1s a|1s b|1s |1s c|"},
		"a line in parts":         {[]step{{"a", 0}, {"b\n", time.Second}}, "1s ab|"},
		"no end at the end":       {[]step{{"a\nb", 0}}, "0s a|0s b|"},
		"no end for long":         {[]step{{"a", 0}, {"", time.Second}, {"b\n", time.Second}}, "1s a|2s b|"},
		"as long as can be":       {[]step{{long + "\nb\n", 0}}, "0s " + long + "|0s b|"},
		"too long":                {[]step{{long + "y\nb\n", 0}}, "0s " + long + "|0s y|0s b|"},
		"too long, without end":   {[]step{{long + long + "y", 0}}, "0s " + long + "|0s " + long + "|0s y|"},
		"a time of its own":       {[]step{{"2020-01-01T00:00:00.000Z a\n", 0}}, "0s 2020-01-01T00:00:00.000Z a|"},
		"the clock was set back":  {[]step{{"a\n", 0}, {"b\n", -time.Hour}}, "0s a|-1h0m0s b|"},
		"bytes that are not text": {[]step{{"\xff\x00\n", 0}}, "0s \xff\x00|"},
	} {
		file := filepath.Join(t.TempDir(), "log")
		write(t, file, Limits{}, c.steps...)
		if got := texts(all(t, file)); got != c.want {
			t.Errorf("%s: %.200q, want %.200q", name, got, c.want)
		}
		if st, err := os.Stat(file); err == nil && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, st.Mode())
		}
	}
}

// A flood is left out and told in a line a second; afterwards lines are kept again. The disk has what it may have.
func TestRate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	line := strings.Repeat("y", 99) + "\n"
	write(t, file, Limits{Rate: 64 << 10, Size: 4 << 20},
		step{"first\n", 0}, step{strings.Repeat(line, 100_000), 0}, step{"last words\n", 0}, step{"", time.Second}, step{"", time.Second}, step{"last\n", 0})
	lines := all(t, file)
	kept, left := 0, 0
	for _, l := range lines {
		var n, k int
		if _, err := fmt.Sscanf(l.Text, "gitd: %d lines (%d KiB) are left out here: the app writes more than 64 KiB a second", &n, &k); err == nil {
			left += n
		} else {
			kept++
		}
	}
	if kept+left != 100_003 || left < 90_000 || kept < 1000 {
		t.Errorf("%d kept, %d left out", kept, left)
	}
	if f, w, l := lines[0].Text, lines[len(lines)-2].Text, lines[len(lines)-1].Text; f != "first" || w != "last words" || l != "last" {
		t.Errorf("%q to %q, %q", f, w, l)
	}
}

// An output takes no more of the disk than it may, and what is left are its newest lines in their order.
func TestSize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	var steps []step
	for i := range 200 {
		steps = append(steps, step{fmt.Sprintf("%06d %s\n", i, strings.Repeat("z", 9000)), time.Second})
	}
	for range 2 { // the second one finds the files of the first
		write(t, file, Limits{Size: 512 << 10}, steps...)
		size := int64(0)
		for _, n := range []string{file, file + Older} {
			st, err := os.Stat(n)
			if err != nil {
				t.Fatal(err)
			}
			size += st.Size()
		}
		if size > 512<<10 {
			t.Errorf("%d bytes", size)
		}
		lines := all(t, file)
		for i, l := range lines {
			if want := fmt.Sprintf("%06d ", 200-len(lines)+i); !strings.HasPrefix(l.Text, want) {
				t.Fatalf("line %d is %.10q, want %q", i, l.Text, want)
			}
		}
		if len(lines) < 30 {
			t.Errorf("%d lines are left", len(lines))
		}
		if tail := Tail(file, 40, start); len(tail) != 40 || tail[39] != lines[len(lines)-1] || tail[0] != lines[len(lines)-40] {
			t.Errorf("a tail of %d lines", len(tail))
		}
	}
}

// On a full disk the program goes on: what there is no room for is left out, and told when there is room again.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	file := filepath.Join(dir, "log")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := NewWriter(file, Limits{})
	out.file.pause = 10 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- out.Copy(r, time.Minute) }()
	line := bytes.Repeat([]byte("a"), 999)
	for range 1000 {
		if _, err := w.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !out.file.empty() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if _, err := w.WriteString("after\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	lines := all(t, file)
	note := regexp.MustCompile(`^gitd: [0-9]+ lines \([0-9]+ KiB\) are left out here: the server could not write them: no such file`)
	if !slices.ContainsFunc(lines, func(l Line) bool { return note.MatchString(l.Text) }) || lines[len(lines)-1].Text != "after" {
		t.Errorf("no note, or no end: %.100q", lines[len(lines)-1].Text)
	}
	if len(lines) < 100 {
		t.Errorf("%d lines", len(lines))
	}
}

// Where the disk takes nothing at all, the end does not wait for it.
func TestPatience(t *testing.T) {
	s := &script{steps: []step{{"a\n", 0}}}
	began := time.Now()
	if err := NewWriter(filepath.Join(t.TempDir(), "none", "log"), Limits{}).Copy(s, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%s", took)
	}
}

// Who follows gets every line once, over changes of files.
func TestFollow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	var pos Position
	var got []string
	for i := range 100 {
		write(t, file, Limits{Size: 256 << 10}, step{fmt.Sprintf("%d %s\n%d b\n", i, strings.Repeat("x", 9000), i), 0})
		if i%3 != 0 {
			continue
		}
		if !Changed(file, pos) {
			t.Fatal("nothing new")
		}
		r := Open(file, pos, start, false)
		for {
			l, err := r.Next()
			if err != nil {
				break
			}
			got = append(got, l.Text[:strings.IndexByte(l.Text, ' ')])
		}
		pos = r.Close()
		if Changed(file, pos) {
			t.Fatal("something new")
		}
	}
	for i, g := range got {
		if g != fmt.Sprint(i/2) {
			t.Fatalf("line %d is of %s", i, g)
		}
	}
	if len(got) != 200 {
		t.Errorf("%d lines", len(got))
	}
	if End(file) != pos {
		t.Errorf("%v is the end, %v was read", End(file), pos)
	}
}

// A line that is not complete is left, until there is no more.
func TestIncompleteLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("2026-01-02T03:04:05.007Z a\nold\n2026-01-02T03:"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Open(file, Position{}, start, false)
	for _, want := range []string{"a", "old"} {
		if l, err := r.Next(); err != nil || l.Text != want || !l.Time.Equal(start.Add(time.Millisecond)) || l.Timed != (want == "a") {
			t.Errorf("%+v, %v", l, err)
		}
	}
	if l, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%+v, %v", l, err)
	}
	if err := Append(file, start.Add(time.Second), "gitd: note"); err != nil {
		t.Fatal(err)
	}
	r = Open(file, r.Close(), start, false)
	defer r.Close()
	for _, want := range []string{"2026-01-02T03:", "gitd: note"} {
		if l, err := r.Next(); err != nil || l.Text != want {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

func TestRemove(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for _, n := range []string{file, file + Older} {
		if err := os.WriteFile(n, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remove(file); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
		t.Error(left)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.006Z text"))
	f.Add([]byte("2026-01-02T03:04:05.006Z "))
	f.Add([]byte("2026-01-02T03:04:05,006Z text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, text, ok := parse(b)
		if !ok {
			if !bytes.Equal(text, b) {
				t.Errorf("%q became %q", b, text)
			}
			return
		}
		if again := appendLine(nil, at, text); !bytes.Equal(bytes.TrimSuffix(again, []byte{'\n'}), b) {
			t.Errorf("%q became %q", b, again)
		}
	})
}

// BenchmarkFlood is what a flood costs the shim: most of it is left out.
func BenchmarkFlood(b *testing.B) {
	text := strings.Repeat("y\n", 16<<10)
	b.SetBytes(int64(len(text)))
	s := &script{now: start}
	w := NewWriter(filepath.Join(b.TempDir(), "log"), Limits{})
	w.now, w.sleep = func() time.Time { return s.now }, func(time.Duration) {}
	for range b.N {
		s.steps = append(s.steps, step{text, time.Microsecond})
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := w.Copy(s, time.Minute); err != nil {
		b.Fatal(err)
	}
}
