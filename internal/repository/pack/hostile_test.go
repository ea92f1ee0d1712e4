package pack

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// hostilePack is one that must be refused.
type hostilePack struct {
	name  string
	pack  []byte
	code  app.Code
	words string
}

// hostilePacks are made for Limits{Bytes: 8 MiB, Objects: 100,000, Object: 16 MiB, Inflated: 256 MiB, Memory: 16 MiB, Depth: 200}.
func hostilePacks() (all []hostilePack) {
	x := []byte("pwned\n")
	xid := idOf("blob", x)
	add := func(name string, code app.Code, words string, pack []byte) {
		all = append(all, hostilePack{name, pack, code, words})
	}
	bad, much := app.CodeInvalidInput, app.CodeLimitExceeded
	one := func(f func(p *gittest.Pack)) []byte {
		p := gittest.NewPack(1)
		f(p)
		return p.End()
	}
	two := func(f func(p *gittest.Pack, base int)) []byte {
		p := gittest.NewPack(2)
		f(p, p.Object(3, x))
		return p.End()
	}
	tree := func(b []byte) []byte {
		return two(func(p *gittest.Pack, _ int) { p.Object(2, b) })
	}
	add("not a pack", bad, "not a pack", []byte("hello, this is no pack at all"))
	add("version 9", bad, "not a pack", append([]byte("PACK\x00\x00\x00\x09\x00\x00\x00\x00"), make([]byte, 20)...))
	add("half a header", bad, "", []byte("PACK\x00\x00"))
	huge := gittest.NewPack(1<<32 - 1)
	huge.Object(3, x)
	add("huge count", much, "4294967295 objects; the limit is 100000", huge.End())
	most := gittest.NewPack(100000)
	most.Object(3, x)
	add("fewer than it says", bad, "", most.End())
	add("ends early", bad, "", two(func(p *gittest.Pack, _ int) { p.Object(3, nil) })[:25])
	add("ends in an entry", bad, "", append(one(func(p *gittest.Pack) { p.Object(3, x) })[:20], make([]byte, 40)...))
	add("wrong checksum of all", bad, "checksum does not match", func() []byte {
		b := one(func(p *gittest.Pack) { p.Object(3, x) })
		b[len(b)-1] ^= 1
		return b
	}())
	add("inflates to more than it says", bad, "longer than declared", one(func(p *gittest.Pack) { p.Head(3, 10); p.Deflate(make([]byte, 1<<20)) }))
	add("inflates to less than it says", bad, "shorter than declared", one(func(p *gittest.Pack) { p.Head(3, 15<<20); p.Deflate(make([]byte, 10)) }))
	add("a tree that inflates to less than it says", bad, "", one(func(p *gittest.Pack) { p.Head(2, 5<<20); p.Deflate(make([]byte, 10)) }))
	add("a delta that inflates to more", bad, "longer than declared", two(func(p *gittest.Pack, b int) {
		p.Head(6, 3)
		p.WriteByte(byte(p.Len() - b - 1))
		p.Deflate(delta(6, 6, 0x90, 6))
	}))
	add("wrong Adler checksum", bad, "checksum", one(func(p *gittest.Pack) {
		p.Object(3, x)
		p.Bytes()[p.Len()-1] ^= 1
	}))
	add("no zlib", bad, "corrupt", one(func(p *gittest.Pack) { p.Head(3, 100); p.WriteString(strings.Repeat("\x78\x9c\xff", 100)) }))
	add("type 0", bad, "type 0", one(func(p *gittest.Pack) { p.Object(0, x) }))
	add("type 5", bad, "type 5", one(func(p *gittest.Pack) { p.Object(5, x) }))
	add("endless size", much, "", one(func(p *gittest.Pack) { p.WriteString("\xbf" + strings.Repeat("\xff", 30)) }))
	add("twice the same", bad, "twice", two(func(p *gittest.Pack, _ int) { p.Object(3, x) }))
	add("delta on the inside of an entry", bad, "no base", two(func(p *gittest.Pack, _ int) { p.OffsetDelta(p.Len()-5, delta(6, 6, 0x90, 6)) }))
	add("delta on itself", bad, "no base", two(func(p *gittest.Pack, _ int) { p.OffsetDelta(p.Len(), delta(6, 6, 0x90, 6)) }))
	add("delta on what is before the pack", bad, "no base", two(func(p *gittest.Pack, _ int) { p.OffsetDelta(p.Len()-1000, delta(6, 6, 0x90, 6)) }))
	add("endless offset", bad, "no base", two(func(p *gittest.Pack, _ int) { p.Head(6, 3); p.WriteString(strings.Repeat("\xff", 40)) }))
	add("delta of nothing", bad, "missing", one(func(p *gittest.Pack) { p.RefDelta(ID(bytes.Repeat([]byte{0xab}, 20)), delta(6, 6, 0x90, 6)) }))
	add("delta on its own result", bad, "missing", one(func(p *gittest.Pack) { p.RefDelta(xid, delta(6, 6, 0x90, 6)) }))
	for name, d := range map[string][]byte{
		"copies past the end": delta(6, 100, 0x91, 4, 96), "is empty": {}, "has half a size": {0x80}, "has an endless size": bytes.Repeat([]byte{0xff}, 30),
		"has another base": delta(7, 6, 0x90, 6), "makes nothing": delta(6, 0), "makes less": delta(6, 60, 0x90, 6), "makes more": delta(6, 3, 0x90, 6), "inserts past its end": delta(6, 20, 20, 1, 2),
		"has instruction 0": delta(6, 6, 0), "has half an instruction": delta(6, 6, 0xff), "copies far": delta(6, 6, 0xff, 255, 255, 255, 255, 255, 255, 255),
	} {
		add("delta "+name, bad, "a delta is not sound", two(func(p *gittest.Pack, b int) { p.OffsetDelta(b, d) }))
	}
	add("delta of a tebibyte", much, "", two(func(p *gittest.Pack, b int) { p.OffsetDelta(b, delta(6, 1<<40, 0x90, 6)) }))
	add("object of a tebibyte", much, "", one(func(p *gittest.Pack) { p.Head(3, 1<<40) }))

	// Bombs: little is sent, and much comes of it.
	add("zip bomb", much, "the limit is 16 MiB", one(func(p *gittest.Pack) { p.Object(3, make([]byte, 17<<20)) }))
	p := gittest.NewPack(19)
	for i := range 19 {
		b := make([]byte, 15<<20)
		b[0] = byte(i)
		p.Object(3, b)
	}
	add("many zip bombs", much, "unpacks to more than", p.End())
	base := make([]byte, 4<<20)
	d := delta(len(base), len(base)*3)
	for range 3 {
		d = append(d, 0xf0, 0, 0, 0x40)
	}
	p = gittest.NewPack(2)
	p.OffsetDelta(p.Object(3, base), d)
	add("delta bomb", much, "memory", p.End())
	p = gittest.NewPack(2001)
	at := p.Object(3, base)
	for i := range 2000 {
		p.OffsetDelta(at, append(delta(len(base), len(base)+4, 0xf0, 0, 0, 0x40, 4), byte(i), byte(i>>8), 1, 1))
	}
	add("fan of deltas", much, "unpacks to more than", p.End())
	// A chain whose every link has another delta on it: contents have to be kept, or made again.
	p = gittest.NewPack(2*1000 + 1)
	base = make([]byte, 1<<18)
	at = p.Object(3, base)
	for i := range 1000 {
		next := p.OffsetDelta(at, append(delta(len(base), len(base), 0xf0, 0xfc, 0xff, 0x03, 4), byte(i), byte(i>>8), 1, 1))
		p.OffsetDelta(at, append(delta(len(base), len(base), 0xf0, 0xfc, 0xff, 0x03, 4), byte(i), byte(i>>8), 2, 1))
		at = next
	}
	add("chain with branches", much, "", p.End())
	p = gittest.NewPack(302)
	at = p.Object(3, x)
	for i := range 301 {
		at = p.OffsetDelta(at, append(delta(6+min(i, 1), 7, 0x90, 6, 1), byte(i)))
	}
	add("long chain", much, "", p.End())
	p = gittest.NewPack(101)
	for i := range 100 {
		p.Object(3, bytes.Repeat([]byte{byte(i), 3}, 40000+i))
	}
	noise := make([]byte, 9<<20)
	for i := range noise {
		noise[i] = byte(i*i>>3) ^ byte(i>>11)*7 ^ byte(i*2654435761>>13)
	}
	p.Head(3, int64(len(noise)))
	z, _ := zlib.NewWriterLevel(p, 0)
	_, _ = z.Write(noise)
	_ = z.Close()
	add("more than may be sent", much, "the pack is larger than 8 MiB", p.End())

	// Objects.
	sub := string(xid[:])
	for _, name := range []string{".git", ".GIT", "git~1", ".g\u200cit", ".git ", ".git::$DATA", "x\\.git", "..", ".", "a/b", "/tmp/x"} {
		add("tree with "+name, bad, "is not sound: ", tree(treeOf("100644", name, sub)))
	}
	add("tree with an empty name", bad, "badTree", tree(treeOf("100644", "", sub)))
	add("tree with an empty mode", bad, "badTree", tree(treeOf("", "x", sub)))
	add("tree out of order", bad, "treeNotSorted", tree(treeOf("100644", "b", sub, "100644", "a", sub)))
	add("tree with one name twice", bad, "duplicateEntries", tree(treeOf("120000", "a", sub, "100644", "a", sub)))
	add("tree with a link for .gitmodules", bad, "gitmodulesSymlink", tree(treeOf("120000", ".gitmodules", sub)))
	add("half a tree", bad, "badTree", tree(treeOf("100644", "x", sub[:10])))
	add("tree that a delta makes", bad, "hasDotgit", func() []byte {
		p, t := gittest.NewPack(3), treeOf("100644", ".gix", sub)
		p.Object(3, x)
		p.OffsetDelta(p.Object(2, t), delta(len(t), len(t), 0x90, 10, 1, 't', 0x91, 11, byte(len(t)-11)))
		return p.End()
	}())
	add("missing blob", bad, "incomplete: blob", one(func(p *gittest.Pack) { p.Object(2, treeOf("100644", "gone", strings.Repeat("1", 20))) }))
	add("blob taken for a tree", bad, "is a blob, not a tree", tree(treeOf("40000", "x", sub)))
	add("blob taken for both", bad, "taken for", tree(treeOf("100644", "a", sub, "40000", "x", sub)))
	add("commit without a tree", bad, "incomplete: tree", one(func(p *gittest.Pack) {
		p.Object(1, []byte("tree "+xid.String()+"\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"))
	}))
	add("commit without an author", bad, "missingAuthor", one(func(p *gittest.Pack) { p.Object(1, []byte("tree "+xid.String()+"\ncommitter a <a@b> 1 +0000\n\nx\n")) }))
	add("tag without a type", bad, "missingTypeEntry", one(func(p *gittest.Pack) { p.Object(4, []byte("object "+xid.String()+"\ntag x\n\nx\n")) }))
	module := []byte("[submodule \"../../x\"]\n\turl = -x\n")
	mid := idOf("blob", module)
	add("submodule that leads elsewhere", bad, "gitmodulesName", func() []byte {
		p := gittest.NewPack(2)
		p.Object(2, treeOf("100644", ".gitmodules", string(mid[:])))
		p.Object(3, module)
		return p.End()
	}())
	large := make([]byte, 0, 1<<20)
	for i := 0; len(large) < 1<<20; i++ {
		large = append(large, treeOf("100644", fmt.Sprintf("%08d", i), string(binary.BigEndian.AppendUint64(make([]byte, 12, 20), uint64(i)+1)))...)
	}
	add("many missing blobs", bad, "incomplete", one(func(p *gittest.Pack) { p.Object(2, large) }))
	return all
}

var hostileLimits = Limits{Bytes: 8 << 20, Objects: 100000, Object: 16 << 20, Inflated: 1 << 28, Memory: 16 << 20, Depth: 200}

// raced says whether this is a build with the race detector, which takes much memory itself.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestHostilePacks: each is refused by a clear error, leaves nothing behind, and takes little memory.
func TestHostilePacks(t *testing.T) {
	for _, h := range hostilePacks() {
		t.Run(h.name, func(t *testing.T) {
			_, _, err := take(t, h.pack, Options{Limits: hostileLimits, Workers: 2})
			if err == nil {
				t.Fatal("it was taken")
			}
			if code := codeOf(t, err); code != h.code || !strings.Contains(err.Error(), h.words) {
				t.Errorf("%s: %v, not %s with %q", code, err, h.code, h.words)
			}
			if len(h.pack) > 1<<20 || h.code == app.CodeLimitExceeded {
				a, _ := inProcess(t, bytes.NewReader(h.pack), Options{Dir: t.TempDir(), Limits: hostileLimits, Workers: 2})
				if a.Error == "" || !raced() && a.Peak > 96<<20 {
					t.Errorf("%d MB of memory; %s", a.Peak>>20, a.Error)
				}
			}
		})
	}
}

// TestStrangePacks: these look odd, and are sound.
func TestStrangePacks(t *testing.T) {
	x := []byte("pwned\n")
	xid := idOf("blob", x)
	p := gittest.NewPack(2)
	p.RefDelta(xid, delta(6, 3, 0x90, 3)) // before its base
	p.Object(3, x)
	before := p.End()
	p = gittest.NewPack(3)
	p.RefDelta(idOf("blob", x[:3]), delta(3, 2, 0x90, 2)) // on what a later delta makes
	p.RefDelta(xid, delta(6, 3, 0x90, 3))
	p.Object(3, x)
	chain := p.End()
	p = gittest.NewPack(1)
	p.Object(3, nil)
	empty := p.End()
	for name, pack := range map[string][]byte{"delta before its base": before, "deltas by name on each other": chain, "empty object": empty} {
		res, dir, err := take(t, pack, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sameIndex(t, dir, res)
	}
	res, dir, err := take(t, gittest.NewPack(0).End(), Options{})
	if left, _ := os.ReadDir(dir); err != nil || res.Objects != 0 || len(left) > 0 {
		t.Error(res, err, left)
	}
	if _, _, err := take(t, nil, Options{}); err == nil {
		t.Error("nothing is a pack")
	}
	if _, err := Index(context.Background(), bufio.NewReader(strings.NewReader("")), Options{Dir: t.TempDir()}); err != io.EOF {
		t.Error(err)
	}
}

// TestTruncated cuts a pack off everywhere.
func TestTruncated(t *testing.T) {
	x := []byte("some content that compresses a bit, bit, bit, bit\n")
	p := gittest.NewPack(3)
	at := p.Object(3, x)
	p.OffsetDelta(at, delta(len(x), 8, 0x90, 8))
	p.RefDelta(idOf("blob", x), delta(len(x), 9, 0x90, 9))
	whole := p.End()
	dir := t.TempDir()
	for n := 1; n < len(whole); n++ {
		_, err := Index(context.Background(), bufio.NewReader(bytes.NewReader(whole[:n])), Options{Dir: dir})
		if err == nil || codeOf(t, err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "ends early") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Index(context.Background(), bufio.NewReader(bytes.NewReader(whole)), Options{Dir: dir}); err != nil {
		t.Error(err)
	}
}

// TestCancel ends a push whose client has stopped sending, and one in the middle of its deltas.
func TestCancel(t *testing.T) {
	p := gittest.NewPack(2)
	p.Object(3, []byte("x"))
	r, w := io.Pipe()
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the client went away")
	go func() {
		_, _ = w.Write(p.Bytes())
		cancel(why)
	}()
	dir := t.TempDir()
	if _, err := Index(ctx, bufio.NewReader(r), Options{Dir: dir}); err != why {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 { // although the reader still waits
		t.Errorf("left behind: %v", left)
	}
	_ = w.Close()

	base := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	p = gittest.NewPack(2001)
	at := p.Object(3, base)
	for i := range 2000 {
		p.OffsetDelta(at, append(delta(len(base), len(base)+2, 0xb0, byte(len(base)), byte(len(base)>>8), 2), byte(i), byte(i>>8)))
	}
	pack := p.End()
	ctx, cancel = context.WithCancelCause(context.Background())
	defer cancel(nil)
	_, err := Index(ctx, bufio.NewReader(bytes.NewReader(pack)), Options{Dir: dir, Progress: func(phase string, done, of int) {
		if phase == "Resolving deltas" {
			cancel(why)
			<-ctx.Done()
		}
	}})
	if err != why {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
