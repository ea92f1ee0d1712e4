package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestCall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	if _, err := Call(context.Background(), file, nil, nil, io.Discard, io.Discard); !errors.Is(err, ErrNoServer) {
		t.Fatalf("without a server: %v", err)
	}
	l, err := Listen(file)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	s := NewServer(func(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer, _ *app.Client) int {
		if args[0] == "wait" {
			fmt.Fprint(out, "waiting")
			<-ctx.Done()
			close(gone)
			return 1
		}
		b, _ := io.ReadAll(in)
		fmt.Fprintf(out, "%q %s", args, b)
		fmt.Fprint(errOut, "bad\n")
		return 3
	})
	go s.Serve(l)
	defer s.Close()

	var out, errOut strings.Builder
	code, err := Call(context.Background(), file, []string{"a", "b c"}, []byte("input"), &out, &errOut)
	if err != nil || code != 3 || out.String() != `["a" "b c"] input` || errOut.String() != "bad\n" {
		t.Fatalf("%d %v %q %q", code, err, out.String(), errOut.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err = Call(ctx, file, []string{"wait"}, nil, writer(func(p []byte) error {
		if len(p) > 0 {
			cancel()
		}
		return nil
	}), io.Discard)
	if err == nil {
		t.Fatal("a cancelled call succeeded")
	}
	<-gone // the command notices that its caller left
	if l, err = Listen(file); err != nil {
		t.Fatalf("over a socket that was left: %v", err)
	}
	l.Close()
}
