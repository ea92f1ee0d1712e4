package app

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
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

// What people read of a cause is its reason; the log has all of it, and what was said on the way.
func TestErrorf_TellsReasonsOnly(t *testing.T) {
	_, missing := os.Open("/nowhere/x")
	for want, err := range map[string]error{
		"the key /nowhere/x cannot be read: no such file or directory": Errorf(CodeInvalidInput, "n", "the key /nowhere/x cannot be read: %w", missing),
		"it cannot be read: load: no such file or directory":           Errorf(CodeInvalidInput, "n", "it cannot be read: %w", fmt.Errorf("load: %w", missing)),
		"no registry: 127.0.0.1:1: connection refused":                 Errorf(CodeUnavailable, "n", "no registry: %w", &url.Error{Op: "Get", URL: "http://x", Err: refused()}),
		"it failed: two lines, and more":                               Errorf(CodeUnavailable, "n", "it failed: %w", errors.New("two lines,\n\tand\x1b[2K more\n")),
		"it failed: " + strings.Repeat("x", 300) + "…":                 Errorf(CodeUnavailable, "n", "it failed: %v", errors.New(strings.Repeat("x", 400))),
		"status 7 of EOF":                  Errorf(CodeUnavailable, "n", "status %d of %s", 7, io.EOF),
		"the push failed":                  Wrap(missing, CodeUnavailable, "n", "the push failed"),
		"the outer words: the inner words": Errorf(CodeUnavailable, "n", "the outer words: %w", Errorf(CodeNotFound, "n", "the inner words")),
	} {
		if err.Error() != want {
			t.Errorf("got  %q\nwant %q", err, want)
		}
	}
	if e := Errorf(CodeInvalidInput, "n", "it cannot be read: %w", missing); !errors.Is(e, fs.ErrNotExist) || e.Err != missing {
		t.Errorf("the cause is %v", e.Err)
	}
}

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func TestCause(t *testing.T) {
	_, missing := os.Open("/nowhere/x")
	inner := Errorf(CodeNotFound, "n", "there is no app: %w", missing)
	for want, err := range map[string]error{
		"": Errorf(CodeNotFound, "n", "there is no app"),
		"open /nowhere/x: no such file or directory":                                             inner,
		"enter v3: open /nowhere/x: no such file or directory":                                   fmt.Errorf("enter v3: %w", inner),
		"there is no app: no such file or directory: open /nowhere/x: no such file or directory": Wrap(inner, CodeUnavailable, "n", "try again"),
		"EOF":      io.EOF,
		"roll out": fmt.Errorf("roll out: %w", Errorf(CodeUnavailable, "n", "it is away: %w", io.EOF)),
	} {
		if got := Cause(err); got != want {
			t.Errorf("%v:\ngot  %q\nwant %q", err, got, want)
		}
	}
}

// Every code has an exit status, and none but a success has 0.
func TestExitStatus(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
				code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				if status, ok := exits[Code(code)]; !ok || status == 0 && Code(code) != CodeDryRun {
					t.Errorf("%s exits with status %d", code, status)
				}
				codes++
			}
		}
		return true
	})
	if codes < 18 || len(exits) != codes+1 {
		t.Errorf("%d codes, %d statuses", codes, len(exits))
	}
	for want, err := range map[int]error{0: nil, 1: io.EOF, 3: fmt.Errorf("x: %w", Errorf(CodeNotFound, "n", "gone")), 130: Errorf(CodeCancelled, "n", "gone")} {
		if got := ExitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestLog_Lines(t *testing.T) {
	var b, copied strings.Builder
	l := NewLog(&b)
	l.Step("one\x1b[2K\x1b[31mred\x1b[0m\x07")
	l.Copy(&copied)
	fmt.Fprintf(l, "a\nb 10%%\rb 100%%\r\nunfinished")
	l.Flush()
	l.Fail(Errorf(CodeBuildFailed, "fix it", "broken"))
	want := "-----> one\x1b[31mred\x1b[0m\n       a\n       b 100%\n       unfinished\n !     broken\n !     fix it\n"
	if b.String() != want {
		t.Fatalf("%q", b.String())
	}
	if copied.String() != want[strings.Index(want, "       a"):] {
		t.Fatalf("copy: %q", copied.String())
	}
}

func TestSizeAndClip(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1 << 10: "1 KiB", 1500: "1.5 KiB", 4 << 10: "4 KiB", 1<<20 - 1: "1 MiB", 1 << 20: "1 MiB", 999_999: "977 KiB",
		3<<20 + 1<<19: "3.5 MiB", 6_200_000: "5.9 MiB", 64 << 20: "64 MiB", 100_000_000: "95 MiB", 1<<30 - 1: "1 GiB", 3 << 29: "1.5 GiB", 2 << 30: "2 GiB",
		1023<<30 + 1<<29: "1 TiB", 1 << 40: "1 TiB", 3000 << 40: "3000 TiB",
	} {
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

// What is not trusted becomes one line that cannot look like columns of a table, or act on a terminal.
func TestLine(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "",
		"Fix the  door\n\nBecause": "Fix the door Because",
		" a\t\tlive   2026-01-01 \x1b[31m[signed": "a live 2026-01-01 [signed",
		"\u202ereversed\u2028x \u200b y":          "reversed x y",
		strings.Repeat("ä", 30):                   strings.Repeat("ä", 20) + "…",
	} {
		if got := Line(s, 40); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
