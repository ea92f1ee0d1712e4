package app

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{"hello": "hello", "/hello": "hello", "hello.git": "hello", "/my-app2.git": "my-app2", "a": "a", strings.Repeat("a", 40): strings.Repeat("a", 40)} {
		if got, err := ParseName(in); err != nil || got != want {
			t.Errorf("ParseName(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "/", "../x", "a/b", "Hello", strings.Repeat("a", 41), strings.Repeat("a", 80), "-x", "x-", "1x", "a b", "a\n", "a.b", "ä", "/../../etc", ".git", "gitd", "/gitd.git"} {
		_, err := ParseName(in)
		if CodeOf(err) != CodeInvalidName {
			t.Errorf("ParseName(%q) = %v", in, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("ParseName(%q): the message %q holds what was sent", in, err)
		}
	}
}

func TestClash(t *testing.T) {
	for _, pair := range [][2]string{{"hello-v1", "hello"}, {"hello-v20", "hello"}, {"green-hello", "hello"}, {"blue-hello", "hello"}, {"green-blue-x", "blue-x"}} {
		if Clash(pair[0], pair[1]) == "" || Clash(pair[1], pair[0]) == "" {
			t.Errorf("%s and %s are let stand together", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"hello", "hello2"}, {"hello-v", "hello"}, {"hello-v1a", "hello"}, {"hello-v1-v2", "hello"}, {"greenhello", "hello"}, {"green", "hello"}, {"red-hello", "hello"}, {"hello-green", "hello"}} {
		if why := Clash(pair[0], pair[1]); why != "" {
			t.Errorf("%s and %s: %s", pair[0], pair[1], why)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("hello")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err == nil && (len(n) > MaxNameLength || strings.ContainsAny(n, "/.\x00 ")) {
			t.Fatalf("%q passed as %q", s, n)
		}
	})
}

func TestError_KeepsCauseAndCode(t *testing.T) {
	err := fmt.Errorf("outer: %w", Errorf(CodeLimitExceeded, "do this", "too big: %w", fs.ErrInvalid))
	if CodeOf(err) != CodeLimitExceeded || !errors.Is(err, fs.ErrInvalid) {
		t.Fatal(CodeOf(err))
	}
	m, next := Explain(err)
	if m != "too big: invalid argument" || next != "do this" {
		t.Fatal(m, next)
	}
	if m, _ := Explain(errors.New("open /var/lib/gitd/secret")); m != "internal error" {
		t.Fatal("a detail leaked:", m)
	}
}

func TestLog_Lines(t *testing.T) {
	var b, copied strings.Builder
	l := NewLog(&b)
	l.Step("one\x1b[2K\x1b[31mred\x1b[0m\x07")
	l.Copy(&copied)
	fmt.Fprintf(l, "a\nb 10%%\rb 100%%\r\nunfinished")
	l.Flush()
	l.Fail(Errorf(CodeBuildFailed, "mend it", "broken"))
	want := "-----> one\x1b[31mred\x1b[0m\n       a\n       b 100%\n       unfinished\n !     broken\n !     mend it\n"
	if b.String() != want {
		t.Fatalf("%q", b.String())
	}
	if copied.String() != want[strings.Index(want, "       a"):] {
		t.Fatalf("copy: %q", copied.String())
	}
}

func TestSizeAndClip(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 4 << 10: "4 KB", 3<<20 + 1<<19: "4 MB", 3 << 29: "1.5 GB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	for in, want := range map[string]string{"abc": "abc", "abcd": "abcd", "abcde": "abcd…", "abcé": "abc…"} {
		if got := Clip(in, 4); got != want {
			t.Errorf("Clip(%q) = %q, want %q", in, got, want)
		}
	}
}
