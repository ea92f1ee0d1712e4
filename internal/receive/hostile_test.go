package receive

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

func varint(b []byte, n int64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func id(kind string, b []byte) []byte {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, len(b))
	h.Write(b)
	return h.Sum(nil)
}

type item struct {
	mode, name string
	id         []byte
}

func tree(items ...item) []byte {
	var b bytes.Buffer
	for _, i := range items {
		fmt.Fprintf(&b, "%s %s\x00", i.mode, i.name)
		b.Write(i.id)
	}
	return b.Bytes()
}

func commitOf(tree []byte) []byte {
	return fmt.Appendf(nil, "tree %x\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nevil\n", id("tree", tree))
}

// packOf makes a pack of a commit, its root tree, more trees, and blobs.
func packOf(root []byte, trees, blobs [][]byte) (pack []byte, commit string) {
	c := commitOf(root)
	p := gittest.NewPack(uint32(2 + len(trees) + len(blobs)))
	p.Object(1, c)
	p.Object(2, root)
	for _, t := range trees {
		p.Object(2, t)
	}
	for _, b := range blobs {
		p.Object(3, b)
	}
	return p.End(), fmt.Sprintf("%x", id("commit", c))
}

// send pushes a pack made by hand, and returns the report.
func (fx *fixture) send(name, commit string, pack []byte) string {
	fx.T.Helper()
	return fx.sendAs("report-status", name, commit, pack)
}

// sendAs is send by a client with these capabilities.
func (fx *fixture) sendAs(capabilities, name, commit string, pack []byte) string {
	fx.T.Helper()
	client := fx.Dial()
	defer client.Close()
	ss, err := client.NewSession()
	if err != nil {
		fx.T.Fatal(err)
	}
	var out, errs apptest.Buffer
	ss.Stdout, ss.Stderr = &out, &errs
	in, err := ss.StdinPipe()
	if err != nil {
		fx.T.Fatal(err)
	}
	if err := ss.Start("git-receive-pack '/" + name + "'"); err != nil {
		fx.T.Fatal(err)
	}
	go func() { // the end of input never comes: the server must not wait for it
		_, _ = in.Write(append(pktline.Append(nil, repository.ZeroID+" "+commit+" refs/heads/main\x00"+capabilities), "0000"...))
		_, _ = in.Write(pack)
	}()
	done := make(chan error, 1)
	go func() { done <- ss.Wait() }()
	gittest.Eventually(fx.T, "the report", func() bool {
		return strings.Contains(out.String(), "unpack ") && strings.HasSuffix(out.String(), "0000") || errs.String() != ""
	})
	_ = in.Close()
	gittest.Receive(fx.T, "the end of the session", done)
	return out.String()[strings.Index(out.String(), "0000")+4:] + errs.String()
}

func TestHostilePacks(t *testing.T) {
	t.Run("gitd", func(t *testing.T) {
		hostilePacks(t, repository.NewPackIndexer(), "the pack has an object of 1 GiB; the limit is 512 MiB", "hasDotdot", "a blob, not a commit")
	})
	t.Run("git", func(t *testing.T) {
		hostilePacks(t, repository.NewGitIndexer(), "unpacking took more than 192 MiB of memory",
			"hasDotdot", "a blob, not a commit", "SHA1 mismatch", "delta replay has gone wild", "tried to allocate 1099511627777")
	})
}

// hostilePacks has an indexer refuse them. deltaBomb is what it says of one, and logged are parts of lines in the server's log.
func hostilePacks(t *testing.T, indexer repository.Indexer, deltaBomb string, logged ...string) {
	fx := start(t, func(o *options) {
		o.repo.Limits.Pack = 8 << 20
		o.repo.Limits.Objects = 100000
		o.repo.Limits.Memory = 192 << 20
		o.repo.Indexer = indexer
	})
	x := []byte("pwned\n")
	xid := id("blob", x)
	sound, soundCommit := packOf(tree(item{"100644", "x", xid}), nil, [][]byte{x})
	one := func(name, words string, root []byte, trees, blobs [][]byte) (string, string, []byte, string) {
		p, c := packOf(root, trees, blobs)
		return name, words, p, c
	}
	type hostile struct {
		name, words string
		pack        []byte
		commit      string
	}
	var all []hostile
	add := func(name, words string, pack []byte, commit string) {
		if commit == "" {
			commit = soundCommit
		}
		all = append(all, hostile{name, words, pack, commit})
	}
	sub := tree(item{"100644", "x.txt", xid})
	hooks := tree(item{"40000", "hooks", id("tree", sub)})
	add(one("dotgit", "is not sound: hasDotgit", tree(item{"40000", ".git", id("tree", hooks)}), [][]byte{sub, hooks}, [][]byte{x}))
	add(one("dotgit in capitals", "is not sound: hasDotgit", tree(item{"100644", ".GIT", xid}), nil, [][]byte{x}))
	add(one("dotgit for Windows", "is not sound: hasDotgit", tree(item{"100644", "git~1", xid}), nil, [][]byte{x}))
	add(one("dotdot", "is not sound: hasDotdot", tree(item{"40000", "..", id("tree", sub)}), [][]byte{sub}, [][]byte{x}))
	add(one("slash", "is not sound: fullPathname", tree(item{"100644", "../escape", xid}), nil, [][]byte{x}))
	add(one("absolute", "is not sound: fullPathname", tree(item{"100644", "/tmp/escape", xid}), nil, [][]byte{x}))
	add(one("empty name", "is not sound", tree(item{"100644", "", xid}), nil, [][]byte{x}))
	add(one("link and folder", "is not sound", tree(item{"120000", "link", id("blob", []byte("/tmp"))}, item{"40000", "link", id("tree", sub)}), [][]byte{sub}, [][]byte{x, []byte("/tmp")}))
	add(one("link and file", "is not sound", tree(item{"120000", "link", id("blob", []byte("/tmp"))}, item{"100644", "link", xid}), nil, [][]byte{x, []byte("/tmp")}))
	add(one("link outside", `the symlink "link" points outside`, tree(item{"120000", "link", id("blob", []byte("/etc/passwd"))}), nil, [][]byte{[]byte("/etc/passwd")}))
	add(one("long link", `has a target of 5000 bytes`, tree(item{"120000", "link", id("blob", bytes.Repeat([]byte("a"), 5000))}), nil, [][]byte{bytes.Repeat([]byte("a"), 5000)}))
	add(one("bad mode", "has mode", tree(item{"60000", "dev", xid}, item{"104777", "suid", xid}), nil, [][]byte{x}))
	add(one("missing blob", "incomplete", tree(item{"100644", "gone", xid}), nil, nil))
	add(one("submodule", `submodule "sub": .gitmodules does not say where it comes from`, tree(item{"160000", "sub", xid}), nil, nil))
	add("missing commit", "incomplete: commit", sound, strings.Repeat("12", 20))
	add("pack without the commit", "incomplete: commit", gittest.NewPack(0).End(), "")
	add("blob as commit", "is a blob, not a commit", sound, fmt.Sprintf("%x", xid))

	deep, trees := tree(item{"100644", "x", xid}), [][]byte{}
	for range 5000 {
		trees = append(trees, deep)
		deep = tree(item{"40000", "d", id("tree", deep)})
	}
	add(one("deep tree", "nested more than 128 deep", deep, trees, [][]byte{x}))
	bomb, trees := tree(item{"100644", "x", xid}), nil
	for range 6 {
		trees = append(trees, bomb)
		var ten []item
		for i := range 10 {
			ten = append(ten, item{"40000", fmt.Sprintf("d%d", i), id("tree", bomb)})
		}
		bomb = tree(ten...)
	}
	add(one("tree bomb", "more than 200000 files", bomb, trees, [][]byte{x}))

	huge := gittest.NewPack(1<<32 - 1)
	huge.Object(3, x)
	add("huge count", "4294967295 objects; the limit is 100000", huge.End(), "")
	lie := gittest.NewPack(1)
	lie.Head(3, 10)
	lie.Deflate(make([]byte, 1<<20))
	add("inflates to more than it says", "the pack is damaged", lie.End(), "")
	lie = gittest.NewPack(1)
	lie.Head(3, 500<<20)
	lie.Deflate(make([]byte, 10))
	add("inflates to less than it says", "the pack is damaged", lie.End(), "")
	bad := gittest.NewPack(1)
	bad.Object(5, make([]byte, 10))
	add("type 5", "the pack is damaged", bad.End(), "")
	bad = gittest.NewPack(1)
	bad.Object(3, x)
	add("bad checksum", "the pack is damaged", append(bad.Bytes(), make([]byte, 20)...), "")
	bad = gittest.NewPack(1)
	bad.Head(3, 100)
	bad.WriteString(strings.Repeat("\x78\x9c\xff", 100))
	add("garbage", "the pack is damaged", bad.End(), "")
	bad = gittest.NewPack(2)
	bad.Object(3, x)
	bad.OffsetDelta(bad.Len()-5, []byte{6, 6, 0x90, 6})
	add("bad offset", "the pack is damaged", bad.End(), "")
	bad = gittest.NewPack(2)
	bad.OffsetDelta(bad.Object(3, x), append(varint(varint(nil, 6), 100), 0x91, 4, 96))
	add("copies past the end", "the pack is damaged", bad.End(), "")
	bad = gittest.NewPack(2)
	bad.OffsetDelta(bad.Object(3, x), append(varint(varint(nil, 6), 1<<40), 0x90, 6))
	add("huge delta", "", bad.End(), "")
	bad = gittest.NewPack(1)
	bad.Head(7, 4)
	bad.Write(bytes.Repeat([]byte{0xab}, 20))
	bad.Deflate([]byte{10, 10, 0x90, 10})
	add("delta of nothing", "the pack is damaged", bad.End(), "")
	base := make([]byte, 16<<20-1)
	bad = gittest.NewPack(2)
	d := varint(varint(nil, int64(len(base))), int64(len(base))*64)
	for range 64 {
		d = append(d, 0x80|0x70, 0xff, 0xff, 0xff)
	}
	bad.OffsetDelta(bad.Object(3, base), d)
	add("delta bomb", deltaBomb, bad.End(), "")
	add("no pack", "not a pack", []byte("hello, this is no pack at all"), "")
	large := gittest.NewPack(1)
	large.Head(3, 20<<20)
	large.Write(bytes.Repeat([]byte{0x78, 0x01, 0, 0xff, 0xff, 0, 0}, 1))
	large.Write(make([]byte, 12<<20))
	add("too large", "", large.End(), "")

	for _, h := range all {
		t.Run(h.name, func(t *testing.T) {
			out := fx.send("evil", h.commit, h.pack)
			if !strings.Contains(out, "ng refs/heads/main ") || !strings.Contains(out, h.words) {
				t.Errorf("the report lacks %q:\n%s", h.words, app.Clip(out, 1000))
			}
		})
	}
	for _, what := range logged {
		if n := strings.Count(strings.Join(fx.Lines(), "\n"), what); n != 1 {
			t.Errorf("%q is in the log %d times", what, n)
		}
	}
	for _, line := range fx.Lines() { // one for each push
		if strings.Contains(line, "evil") != strings.Contains(line, "(status ") {
			t.Errorf("not the line of a push: %s", line)
		}
	}
	if fx.h.count() > 0 {
		t.Error("something was deployed")
	}
	fx.live("evil", "")
	if found := gittest.Children(fx.dir); len(found) > 0 {
		t.Errorf("left running: %q", found)
	}
	if out := fx.send("evil", soundCommit, sound); !strings.Contains(out, "ok refs/heads/main") {
		t.Error(out)
	}
	fx.live("evil", soundCommit)
}

func TestLimits(t *testing.T) {
	fx := start(t, func(o *options) {
		o.repo.Limits.Pack = 1 << 20
		o.repo.Limits.Checkout = 2 << 20
		o.repo.Limits.Files = 50
	})
	dir := fx.Work("limits")
	fx.h.setDeploy(func(ctx context.Context, p *Push) error { return p.Source.Checkout(ctx, t.TempDir(), 0, 0) })
	fx.Commit(dir, "zeros", string(make([]byte, 3<<20)))
	fx.Rejected(dir, []string{"(the files of the commit are larger than 2 MiB together)"}, "push", "platform", "main")
	fx.Git(dir, "reset", "-q", "--hard", "HEAD~1")
	for i := range 50 {
		fx.Write("f", "")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fx.Commit(dir, "more", "")
	fx.Rejected(dir, []string{"(the commit has more than 50 files)"}, "push", "platform", "main")
	fx.Git(dir, "reset", "-q", "--hard", "HEAD~1")
	junk := bytes.Repeat([]byte("x"), 2<<20)
	for i := range junk {
		junk[i] = byte(i*i>>3) ^ byte(i>>11)*7 ^ byte(i*2654435761>>13)
	}
	fx.Commit(dir, "junk", string(junk))
	fx.Rejected(dir, []string{"(the pack is larger than 1 MiB)", "leave large files out"}, "-c", "core.compression=0", "push", "platform", "main")
	fx.clean("limits")

	full := start(t, func(o *options) { o.repo.Limits.MinFree = 1 << 60 })
	dir = full.Work("full")
	full.Rejected(dir, []string{"(the server's disk is nearly full: "}, "push", "platform", "main")
	full.live("full", "")
}
