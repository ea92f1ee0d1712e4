package sshd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// An interactive command gets its client's terminal, sizes, signals and bytes; others are ended by a signal, as before.
func TestClient(t *testing.T) {
	fx := start(t, nil)
	fx.h.SetCommand(func(ctx context.Context, _ app.Key, args []string, in io.Reader, out, _ io.Writer) int {
		c := gittest.Client(ctx)
		if c == nil {
			return 99
		}
		if c.TTY {
			in, out = c.Raw()
		}
		fmt.Fprintf(out, "%v %s %dx%d\n", c.TTY, c.Term, c.Size.Rows, c.Size.Columns)
		if args[1] == "size" {
			s := <-c.Resized
			fmt.Fprintf(out, "%dx%d\n", s.Rows, s.Columns)
		}
		if args[1] == "signal" {
			fmt.Fprintln(out, <-c.Signals)
		}
		b, _ := io.ReadAll(in)
		fmt.Fprintf(out, "%q\n", b)
		return 42
	})
	conn, err := fx.DialFrom("127.0.0.1", fx.Signer(fx.Key))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		name string
		pty  bool
		then func(*gossh.Session) error
		want string
	}{
		{"plain", false, nil, "false  0x0\n\"\\x00\\x03\\r\\n\\xff\"\n"},
		{"plain", true, nil, "true vt220 33x77\n\"\\x00\\x03\\r\\n\\xff\"\n"},
		{"size", true, func(s *gossh.Session) error { return s.WindowChange(40, 100) }, "true vt220 33x77\n40x100\n\"\\x00\\x03\\r\\n\\xff\"\n"},
		{"signal", false, func(s *gossh.Session) error { return s.Signal(gossh.SIGUSR1) }, "false  0x0\nUSR1\n\"\\x00\\x03\\r\\n\\xff\"\n"},
	} {
		ss, err := conn.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		pipe, err := ss.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(pipe)
		ss.Stdin = bytes.NewReader([]byte("\x00\x03\r\n\xff"))
		if c.pty {
			if err := ss.RequestPty("vt220", 33, 77, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := ss.Start("work " + c.name); err != nil {
			t.Fatal(err)
		}
		said, err := out.ReadString('\n') // it works with its client
		if err == nil && c.then != nil {
			err = c.then(ss)
		}
		if err != nil {
			t.Fatal(c.name, err)
		}
		rest, _ := io.ReadAll(out)
		var status *gossh.ExitError
		if err := ss.Wait(); !errors.As(err, &status) || status.ExitStatus() != 42 || said+string(rest) != c.want {
			t.Errorf("%s, terminal %t: %v %q", c.name, c.pty, err, said+string(rest))
		}
	}
}
