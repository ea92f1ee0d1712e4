package lfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/pktline"
)

func TestParsePointer(t *testing.T) {
	oid := strings.Repeat("ab", 32)
	good := "version https://git-lfs.github.com/spec/v1\noid sha256:" + oid + "\nsize 12345\n"
	if p, ok := ParsePointer([]byte(good)); !ok || p != (Pointer{OID: oid, Size: 12345}) {
		t.Errorf("%v %v", p, ok)
	}
	for name, text := range map[string]string{
		"CRLF":            strings.ReplaceAll(good, "\n", "\r\n"),
		"without newline": strings.TrimSpace(good),
		"old version":     strings.Replace(good, "git-lfs.github.com", "hawser.github.com", 1),
	} {
		if _, ok := ParsePointer([]byte(text)); !ok {
			t.Errorf("%s: not read", name)
		}
	}
	if p, ok := ParsePointer([]byte(strings.Replace(good, "oid", "ext-0-x sha256:"+oid+"\noid", 1))); !ok || !p.Extended {
		t.Error("an extension is not seen")
	}
	for name, text := range map[string]string{
		"empty": "", "another version": strings.Replace(good, "v1", "v9", 1), "no oid": strings.Replace(good, "oid sha256:"+oid+"\n", "", 1),
		"two oids": good + "oid sha256:" + oid, "short oid": strings.Replace(good, "abab", "", 1), "upper case": strings.Replace(good, "abab", "ABAB", 1),
		"sha1": strings.Replace(good, "sha256", "sha1", 1), "negative": strings.Replace(good, "size 1", "size -1", 1),
		"huge": strings.Replace(good, "12345", strings.Repeat("9", 30), 1), "another key": good + "x y\n", "long": good + strings.Repeat(" ", 1024),
		"text in front": "a\n" + good,
	} {
		if p, ok := ParsePointer([]byte(text)); ok {
			t.Errorf("%s: read as %v", name, p)
		}
	}
}

func nameOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// said makes a request: words, arguments, and what follows a delimiter.
func said(verb string, arguments []string, data ...string) string {
	b := pktline.Append(nil, verb+"\n")
	for _, a := range arguments {
		b = pktline.Append(b, a+"\n")
	}
	if data != nil {
		b = append(b, "0001"...)
		for _, d := range data {
			b = pktline.Append(b, d)
		}
	}
	return string(append(b, "0000"...))
}

// talk runs a whole conversation, and returns what was answered: <line>, : for a delimiter, | for a flush.
func talk(t testing.TB, s *Store, op Operation, in string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	_, failed := Serve(context.Background(), strings.NewReader(in), &out, op, s)
	var text strings.Builder
	for r := (&pktline.Reader{R: &out}); ; {
		switch line, err := r.Line(); err {
		case nil:
			fmt.Fprintf(&text, "<%s>", line)
		case pktline.ErrFlush:
			text.WriteString("|")
		case pktline.ErrDelim:
			text.WriteString(":")
		case io.EOF:
			return strings.TrimPrefix(text.String(), "<version=1>|"), failed
		default:
			t.Fatalf("answered what is no packet: %v", err)
		}
	}
}

// files returns what is in a store's folder.
func files(t testing.TB, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, filepath.Base(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestServe(t *testing.T) {
	limits := Limits{Object: 1000, App: 3000, Keep: time.Hour}
	hello := nameOf("hello")
	put := func(oid, size string, data ...string) string {
		return said("put-object "+oid, []string{"size=" + size}, data...)
	}
	for _, c := range []struct {
		name, in, want string
		op             Operation
		kept           int
		broken         bool
	}{
		{name: "version", in: said("version 1", nil) + said("quit", nil), want: "<status 200>|<status 200>|"},
		{name: "another version", in: said("version 2", nil), want: "<status 400>:<only version 1 is spoken here>|"},
		{name: "upload", in: put(hello, "5", "hel", "lo") + said("verify-object "+hello, []string{"size=5"}), want: "<status 200>|<status 200>|", kept: 1},
		{name: "in one-byte packets", in: put(hello, "5", "h", "e", "l", "l", "o"), want: "<status 200>|", kept: 1},
		{name: "twice", in: put(hello, "5", "hello") + put(hello, "5", "hello"), want: "<status 200>|<status 200>|", kept: 1},
		{name: "another content", in: put(hello, "5", "hallo"), want: "<status 422>:<the content does not match its name>|"},
		{name: "too short", in: put(hello, "5", "hell"), want: "<status 422>:<the content does not match its name>|"},
		{name: "too long", in: put(hello, "5", "hello", "o") + said("version 1", nil), want: "<status 422>:<the content does not match its name>|<status 200>|"},
		{name: "much too long", in: put(hello, "5", append([]string{"hello"}, strings.Split(strings.Repeat(strings.Repeat("x", 60000)+" ", 20), " ")...)...), broken: true},
		{name: "ends early", in: strings.TrimSuffix(put(hello, "5", "hello"), "0000"), broken: true},
		{name: "over the limit", in: put(hello, "1001", "hello") + said("version 1", nil), want: "<status 507>:<a large file of 1001 bytes is more than the limit of 1000 bytes: keep it elsewhere, and let the app fetch it>|<status 200>|"},
		{name: "batch over the limit", in: said("batch", nil, hello+" 1001"), want: "<status 507>:<a large file of 1001 bytes is more than the limit of 1000 bytes: keep it elsewhere, and let the app fetch it>|"},
		{name: "batch", in: put(hello, "5", "hello") + said("batch", []string{"transfer=ssh", "hash-algo=sha256", "refname=x"}, hello+" 5\n", nameOf("x")+" 1\n"),
			want: "<status 200>|<status 200><hash-algo=sha256>:<" + hello + " 5 noop><" + nameOf("x") + " 1 upload>|", kept: 1},
		{name: "another algorithm", in: said("batch", []string{"hash-algo=md5"}, hello+" 5"), want: "<status 409>:<only sha256 is known here>|"},
		{name: "no name", in: put("../../etc/passwd", "5", "hello"), broken: true},
		{name: "no size", in: said("put-object "+hello, nil, "hello"), broken: true},
		{name: "negative", in: put(hello, "-5", "hello"), broken: true},
		{name: "upload of a reader", op: Download, in: put(hello, "5", "hello") + said("verify-object "+hello, []string{"size=5"}),
			want: "<status 403>:<put-object is not for download>|<status 403>:<verify-object is not for download>|"},
		{name: "download of what is not here", op: Download, in: said("batch", nil, hello+" 5") + said("get-object "+hello, nil),
			want: "<status 200><hash-algo=sha256>:<" + hello + " 5 noop>|<status 404>:<there is no such object here>|"},
		{name: "download of a path", op: Download, in: said("get-object ../../../host_key", nil), want: "<status 404>:<there is no such object here>|"},
		{name: "locks", in: said("list-lock", []string{"limit=10"}), want: "<status 501>:<gitd keeps no locks: lock files where the team's repository is>|"},
		{name: "unknown", in: said("format-disk", nil), want: "<status 501>:<unknown request \"format-disk\">|"},
		{name: "many arguments", in: said("batch", manyArguments(), ""), broken: true},
		{name: "only a flush", in: "0000", broken: true},
		{name: "no packets", in: "GET / HTTP/1.1\r\n\r\n", broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "lfs")
			op := c.op
			if op == "" {
				op = Upload
			}
			s := Open(dir, limits, none)
			got, err := talk(t, s, op, c.in)
			if c.broken != errors.Is(err, pktline.ErrProtocol) || !c.broken && err != nil {
				t.Errorf("error %v", err)
			}
			if !c.broken && got != c.want {
				t.Errorf("answered %s\nwant     %s", got, c.want)
			}
			if found := files(t, dir); len(found) != c.kept {
				t.Errorf("there are %v", found)
			}
		})
	}
}

func manyArguments() (all []string) {
	for i := range maxArguments + 1 {
		all = append(all, fmt.Sprintf("a%d=", i))
	}
	return all
}

func put(t testing.TB, s *Store, content string) (oid string) {
	t.Helper()
	oid = nameOf(content)
	if got, err := talk(t, s, Upload, said("put-object "+oid, []string{fmt.Sprintf("size=%d", len(content))}, content)); err != nil || got != "<status 200>|" {
		t.Fatalf("%s %v", got, err)
	}
	return oid
}

func TestGet(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "lfs"), Limits{Object: 1 << 20, App: 1 << 20, Keep: time.Hour}, none)
	content := strings.Repeat("0123456789", 5000)
	oid := put(t, s, content[:40000])
	var out bytes.Buffer
	stats, err := Serve(context.Background(), strings.NewReader(said("get-object "+oid, nil)+said("quit", nil)), &out, Download, s)
	if err != nil || stats != (Stats{1, 40000}) {
		t.Fatal(stats, err)
	}
	r := &pktline.Reader{R: &out}
	var got bytes.Buffer
	for flushes := 0; flushes < 2; {
		b, err := r.Next()
		if err == pktline.ErrFlush {
			flushes++
		}
		if err == nil && flushes == 1 {
			got.Write(b)
		}
	}
	if want := "status 200\nsize=40000\n" + content[:40000]; got.String() != want {
		t.Errorf("%d bytes: %.60q", got.Len(), got.String())
	}
}

func TestRoomIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lfs")
	limits := Limits{Object: 1000, App: 2500, Keep: 30 * 24 * time.Hour}
	main := strings.Repeat("a", 40)
	commits := func() []string { return []string{strings.Repeat("c", 40), main} }
	s := Open(dir, limits, commits)
	age := func(oid string, by time.Duration) {
		at := time.Now().Add(-by)
		if err := os.Chtimes(s.path(oid), at, at); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want bool, oids ...string) {
		t.Helper()
		for _, oid := range oids {
			if _, err := s.Size(oid); (err == nil) != want {
				t.Errorf("%.4s: %v", oid, err)
			}
		}
	}
	live, old, older := put(t, s, strings.Repeat("l", 1000)), put(t, s, strings.Repeat("o", 600)), put(t, s, strings.Repeat("p", 600))
	if err := errors.Join(s.Note(main, []string{live}), s.Note(strings.Repeat("b", 40), []string{old, older})); err != nil {
		t.Fatal(err)
	}
	age(live, 1000*time.Hour)
	has(true, live, old, older)
	// nothing is old enough
	in := said("put-object "+nameOf("x"), []string{"size=800"}, "x")
	if got, err := talk(t, s, Upload, in); err != nil || !strings.Contains(got, "over its limit of 2.4 KiB") {
		t.Errorf("%s %v", got, err)
	}
	age(old, 2*time.Hour)
	age(older, 3*time.Hour)
	next := put(t, s, strings.Repeat("n", 800))
	has(true, live, old, next)
	has(false, older)

	s = Open(dir, limits, commits) // what is here is measured again
	put(t, s, strings.Repeat("m", 500))
	has(true, live, next)
	has(false, old)

	age(next, 31*24*time.Hour)
	if err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	has(true, live)
	has(false, next)
	if err := os.WriteFile(filepath.Join(dir, "tmp_123"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	if found := files(t, dir); len(found) != 4 { // live, m and two notes
		t.Errorf("there are %v", found)
	}
}

// The newest notes are kept, and those of what is live.
func TestNotes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lfs")
	live := fmt.Sprintf("%040x", 1)
	s := Open(dir, Limits{}, func() []string { return []string{live} })
	if err := errors.Join(s.Note(live, nil), s.Collect()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a commit without large files makes a folder")
	}
	for i := 1; i <= maxNotes+5; i++ {
		commit := fmt.Sprintf("%040x", i)
		if err := s.Note(commit, []string{nameOf(commit)}); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-1000) * time.Second)
		if err := os.Chtimes(filepath.Join(dir, needsDir, commit), at, at); err != nil {
			t.Fatal(err)
		}
	}
	found := files(t, filepath.Join(dir, needsDir))
	if len(found) != maxNotes {
		t.Errorf("%d notes", len(found))
	}
	if needed, err := s.needed(); err != nil || len(needed) != 1 || !needed[nameOf(live)] {
		t.Errorf("%v, %v", needed, err)
	}
}

// none is live.
func none() []string { return nil }

func TestDeletedMeanwhile(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "app.git")
	if err := os.Mkdir(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	s := Open(filepath.Join(parent, "lfs"), Limits{Object: 1000, App: 1000}, none)
	in, err := s.receive(nameOf("hello"), 5)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "hello")
	if err := os.RemoveAll(parent); err != nil {
		t.Fatal(err)
	}
	if err := in.finish(); err == nil {
		t.Error("an object was kept for an app that is no more")
	}
	if _, err := s.receive(nameOf("hello"), 5); err == nil {
		t.Error("an object was taken for an app that is no more")
	}
	if _, err := os.Stat(parent); !os.IsNotExist(err) {
		t.Error("the repository is back")
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("this test needs root, to mount a small disk: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	s := Open(filepath.Join(dir, "lfs"), Limits{Object: 1 << 30, App: 1 << 30, MinFree: -1 << 40}, none)
	packet := strings.Repeat("x", 60000)
	var data []string
	for range 40 {
		data = append(data, packet)
	}
	got, err := talk(t, s, Upload, said("put-object "+nameOf("x"), []string{"size=2400000"}, data...)+said("version 1", nil))
	if want := "<status 507>:<the server's disk is full: ask the operator to make room>|<status 200>|"; err != nil || got != want {
		t.Errorf("%s %v", got, err)
	}
	if found := files(t, dir); len(found) != 0 {
		t.Errorf("there are %v", found)
	}
	put(t, s, "small")
}

func FuzzServe(f *testing.F) {
	hello := nameOf("hello")
	f.Add([]byte(said("version 1", nil)+said("batch", []string{"hash-algo=sha256"}, hello+" 5")+said("put-object "+hello, []string{"size=5"}, "hello")), true)
	f.Add([]byte(said("get-object "+hello, nil)+said("quit", nil)), false)
	f.Add([]byte(said("put-object ../../x", []string{"size=5"}, "hello")), true)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, in []byte, upload bool) {
		s := Open(filepath.Join(dir, "lfs"), Limits{Object: 100, App: 1000, Keep: time.Nanosecond}, none)
		op := Download
		if upload {
			op = Upload
		}
		_, err := talk(t, s, op, string(in))
		if err != nil && !errors.Is(err, pktline.ErrProtocol) {
			t.Errorf("%v", err)
		}
		for _, file := range files(t, dir) {
			b, err := os.ReadFile(s.path(file))
			if err != nil || nameOf(string(b)) != file {
				t.Errorf("%s: %v", file, err)
			}
		}
	})
}
