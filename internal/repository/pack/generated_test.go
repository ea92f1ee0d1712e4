package pack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

var generated = flag.Int("generated", 150, "how many generated packs to compare with what git makes of them")

// generate makes a pack of blobs, trees and commits, whole and as deltas on each other, in any order.
func generate(r *rand.Rand) []byte {
	type item struct {
		kind uint8
		data []byte
		id   ID
		at   int
	}
	var items []item
	p := gittest.NewPack(0)
	seen := map[ID]bool{}
	add := func(kind uint8, data []byte) {
		id := idOf(kindNames[kind], data)
		if seen[id] {
			return
		}
		seen[id] = true
		it := item{kind: kind, data: data, id: id}
		var same []item
		for _, o := range items {
			if o.kind == kind {
				same = append(same, o)
			}
		}
		if len(same) > 0 && r.IntN(3) > 0 {
			base := same[r.IntN(len(same))]
			if r.IntN(2) == 0 {
				base = same[len(same)-1]
			}
			d := randomDelta(r, base.data, data)
			if r.IntN(2) == 0 {
				it.at = p.OffsetDelta(base.at, d)
			} else {
				it.at = p.RefDelta(base.id, d)
			}
		} else {
			it.at = p.Object(kind, data)
		}
		items = append(items, it)
	}
	add(kindBlob, fmt.Appendf(nil, "%d", r.IntN(9)))
	for range 1 + r.IntN(30) {
		switch r.IntN(8) {
		case 0, 1, 2:
			b := make([]byte, r.IntN(2000))
			for i := range b {
				b[i] = byte(r.IntN(1 + r.IntN(255)))
			}
			add(kindBlob, b)
		case 3, 4: // a variant of what there is
			for _, o := range items {
				if o.kind == kindBlob && r.IntN(3) == 0 {
					b := bytes.Clone(o.data)
					if len(b) > 0 {
						b[r.IntN(len(b))]++
					}
					add(kindBlob, append(b, byte(r.Uint32())))
					break
				}
			}
		case 5, 6:
			var b []byte
			for i, o := range items {
				if o.kind == kindBlob || o.kind == kindTree {
					mode := map[uint8]string{kindBlob: "100644", kindTree: "40000"}[o.kind]
					b = append(b, treeOf(mode, fmt.Sprintf("n%04d", i), string(o.id[:]))...)
				}
			}
			add(kindTree, b)
		case 7:
			for _, o := range items {
				if o.kind == kindTree && r.IntN(2) == 0 {
					add(kindCommit, fmt.Appendf(nil, "tree %s\nauthor a <a@b> %d +0000\ncommitter a <a@b> 1 +0000\n\nx\n", o.id, 1+r.IntN(9)))
					break
				}
			}
		}
	}
	b := p.Bytes()
	binary.BigEndian.PutUint32(b[8:], uint32(len(items)))
	if r.IntN(4) == 0 { // and some are damaged
		b[12+r.IntN(len(b)-12)] ^= 1 << r.IntN(8)
	}
	return p.End()
}

// randomDelta makes a delta that is not the shortest.
func randomDelta(r *rand.Rand, base, result []byte) []byte {
	d := delta(len(base), len(result))
	for at := 0; at < len(result); {
		n := 1 + r.IntN(min(127, len(result)-at))
		if from := bytes.Index(base, result[at:at+n]); from >= 0 {
			for at+n < len(result) && from+n < len(base) && n < 1<<16-1 && result[at+n] == base[from+n] {
				n++
			}
			c, args := byte(0x80), []byte{}
			for i := range 4 {
				if v := byte(from >> (8 * i)); v != 0 {
					c, args = c|1<<i, append(args, v)
				}
			}
			for i := range 3 {
				if v := byte(n >> (8 * i)); v != 0 {
					c, args = c|1<<(4+i), append(args, v)
				}
			}
			d = append(append(d, c), args...)
		} else {
			d = append(append(d, byte(n)), result[at:at+n]...)
		}
		at += n
	}
	return d
}

// sameAsGit takes a pack in, and compares with git index-pack --strict in an empty repository.
func sameAsGit(t *testing.T, repository string, pack []byte, mayDiffer bool) {
	t.Helper()
	dir := t.TempDir()
	res, err := Index(context.Background(), bufio.NewReaderSize(bytes.NewReader(pack), 512), Options{Dir: dir, Workers: 2, NoSync: true,
		Limits: Limits{Object: 1 << 20, Inflated: 1 << 26, Memory: 8 << 20, Objects: 5000}})
	if err != nil && (mayDiffer || app.CodeOf(err) == app.CodeLimitExceeded) {
		codeOf(t, err)
		return
	}
	theirs := filepath.Join(dir, "theirs.idx")
	file := filepath.Join(dir, "in.pack")
	if e := os.WriteFile(file, pack, 0o644); e != nil {
		t.Fatal(e)
	}
	out, failed := tryGit(repository, "", "index-pack", "--strict", "--no-rev-index", "-o", theirs, file)
	if (err != nil) != (failed != nil) {
		t.Fatalf("ours: %v\ngit: %s\n%x", err, out, pack)
	}
	if err != nil || res.Objects == 0 {
		return
	}
	want, _ := os.ReadFile(theirs)
	got, _ := os.ReadFile(filepath.Join(dir, res.Name+".idx"))
	if !bytes.Equal(got, want) {
		t.Fatalf("the index is not git's\n%x", pack)
	}
}

// TestGenerated compares with git on packs that no git would make.
func TestGenerated(t *testing.T) {
	repository := t.TempDir()
	git(t, repository, "", "init", "-q", "--bare")
	for i := range *generated {
		sameAsGit(t, repository, generate(rand.New(rand.NewPCG(uint64(i), 1))), false)
	}
}

// FuzzPack: a pack that is taken is one that git takes, with the same index.
func FuzzPack(f *testing.F) {
	for i := range 20 {
		p := generate(rand.New(rand.NewPCG(uint64(i), 2)))
		f.Add(p[:len(p)-20])
	}
	repository := f.TempDir()
	git(f, repository, "", "init", "-q", "--bare")
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha1.Sum(b)
		sameAsGit(t, repository, append(b, sum[:]...), true)
	})
}

func FuzzDelta(f *testing.F) {
	base := []byte("the quick brown fox jumps over the lazy dog")
	f.Add(base, delta(len(base), 10, 0x90, 10))
	f.Add(base, randomDelta(rand.New(rand.NewPCG(1, 1)), base, []byte("the lazy dog jumps over the quick brown fox")))
	f.Fuzz(func(t *testing.T, base, d []byte) {
		from, to, instructions, err := deltaSizes(d)
		if err != nil || from != int64(len(base)) || to > 1<<20 {
			return
		}
		result := make([]byte, to)
		if applyDelta(result, base, instructions) != nil {
			return
		}
		// The same, byte by byte.
		var slow []byte
		for p := instructions; len(p) > 0; {
			c := p[0]
			p = p[1:]
			if c < 0x80 {
				slow, p = append(slow, p[:c]...), p[c:]
				continue
			}
			var at, n int
			for i := range 7 {
				if c>>i&1 != 0 {
					if i < 4 {
						at |= int(p[0]) << (8 * i)
					} else {
						n |= int(p[0]) << (8 * (i - 4))
					}
					p = p[1:]
				}
			}
			if n == 0 {
				n = 0x10000
			}
			slow = append(slow, base[at:at+n]...)
		}
		if !bytes.Equal(slow, result) {
			t.Errorf("%q with %x is %q, not %q", base, d, result, slow)
		}
	})
}
