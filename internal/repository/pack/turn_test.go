package pack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// zeros are the instructions of a delta that make so many bytes of a base of zeros.
func zeros(to int) []byte {
	var ops []byte
	for ; to > 0; to -= min(to, 0xffff) {
		n := min(to, 0xffff)
		ops = append(ops, 0x80|0x30, byte(n), byte(n>>8))
	}
	return ops
}

// TestTurn takes packs in that need much memory, while another pack does.
func TestTurn(t *testing.T) {
	const size = 40 << 20
	p := gittest.NewPack(3)
	first := p.Object(kindBlob, make([]byte, size))
	second := p.OffsetDelta(first, delta(size, size-1, zeros(size-1)...))
	p.OffsetDelta(second, delta(size-1, size-2, zeros(size-2)...))
	inPack := p.End()

	repository := filepath.Join(t.TempDir(), "r")
	git(t, t.TempDir(), "", "init", "-q", "--bare", repository)
	git(t, repository, string(make([]byte, size)), "hash-object", "-w", "--stdin")
	p = gittest.NewPack(2)
	p.RefDelta(idOf("blob", make([]byte, size)), delta(size, size-1, zeros(size-1)...))
	p.RefDelta(idOf("blob", make([]byte, size-1)), delta(size-1, size-2, zeros(size-2)...))
	thin := p.End()

	for name, pack := range map[string][]byte{"whole": inPack, "thin": thin} {
		t.Run(name, func(t *testing.T) {
			var alone atomic.Bool
			alone.Store(true)
			index := func(ctx context.Context) chan error {
				done := make(chan error, 1)
				o := Options{Dir: t.TempDir(), Repository: filepath.Join(repository, "objects"), Workers: 3,
					Progress: func(phase string, _, _ int) {
						if phase == "Resolving deltas" && alone.Load() && len(largeTurn) > 0 {
							t.Error("progress is told by who has the turn")
						}
					}}
				go func() {
					_, err := Index(ctx, bufio.NewReader(bytes.NewReader(pack)), o)
					done <- err
				}()
				return done
			}
			largeTurn <- struct{}{} // another pack
			ctx, cancel := context.WithCancelCause(context.Background())
			gone := errors.New("the client is gone")
			waits, leaves := index(context.Background()), index(ctx)
			select {
			case err := <-waits:
				t.Fatalf("it did not wait: %v", err)
			case err := <-leaves:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(2 * time.Second):
			}
			cancel(gone)
			if err := <-leaves; !errors.Is(err, gone) {
				t.Error(err)
			}
			<-largeTurn
			if err := <-waits; err != nil {
				t.Error(err)
			}
			alone.Store(false)
			both := []chan error{index(context.Background()), index(context.Background()), index(context.Background())}
			for _, done := range both {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if len(largeTurn) != 0 {
				t.Error("the turn was not given back")
			}
		})
	}
}

func TestLargeTree(t *testing.T) {
	p := gittest.NewPack(1)
	p.Object(kindTree, bytes.Repeat([]byte{0}, maxText+1))
	dir := t.TempDir()
	_, err := Index(context.Background(), bufio.NewReader(bytes.NewReader(p.End())), Options{Dir: dir})
	if codeOf(t, err) != app.CodeLimitExceeded || !strings.Contains(err.Error(), "the pack has a tree of 32 MiB") {
		t.Error(err)
	}
	if found, _ := os.ReadDir(dir); len(found) > 0 {
		t.Error(found)
	}
}
