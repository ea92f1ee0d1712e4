package tail

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestTail(t *testing.T) {
	for _, limit := range []int{1, 7, 64} {
		for _, step := range []int{1, 3, 7, 8, 40, 500} {
			text := strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz", 30)
			end := &Tail{Limit: limit}
			for i := 0; i < len(text); i += step {
				upTo := min(i+step, len(text))
				if n, err := io.WriteString(end, text[i:upTo]); n != upTo-i || err != nil {
					t.Fatalf("%d, %v", n, err)
				}
				if got, want := end.String(), text[max(0, upTo-limit):upTo]; got != want {
					t.Fatalf("limit %d, by %d: %q is kept, not %q", limit, step, got, want)
				}
				if cap(end.kept) > 4*limit+64 {
					t.Fatalf("limit %d, by %d: it takes %d bytes", limit, step, cap(end.kept))
				}
			}
		}
	}
}

func TestTail_Zero(t *testing.T) {
	var end Tail
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 1000 {
				fmt.Fprintf(&end, "line of %d\n", i)
			}
		})
	}
	all.Wait()
	if s := end.String(); len(s) != 8<<10 || !strings.HasSuffix(s, "\n") {
		t.Errorf("%d bytes are kept", len(s))
	}
}
