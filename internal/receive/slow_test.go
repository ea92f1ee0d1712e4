package receive

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

// indexers are both of them.
var indexers = map[string]repository.Indexer{"git index-pack": repository.NewGitIndexer(), "own indexer": repository.NewPackIndexer()}

// slowly starts a command over SSH, sends head, and then byte after byte of rest, for ever and a while between two. It returns what the
// server says until it gives up.
func (fx *fixture) slowly(command string, head, rest []byte, between time.Duration) string {
	fx.T.Helper()
	client := fx.Dial()
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		fx.T.Fatal(err)
	}
	in, _ := session.StdinPipe()
	out, _ := session.StdoutPipe()
	complaint, _ := session.StderrPipe()
	if err := session.Start(command); err != nil {
		fx.T.Fatal(err)
	}
	said := make(chan string, 2)
	for _, r := range []io.Reader{out, complaint} {
		go func() {
			b, _ := io.ReadAll(r)
			said <- string(b)
		}()
	}
	_, _ = in.Write(head)
	ended := make(chan string, 1)
	go func() { ended <- <-said + <-said }()
	for i := 0; ; i++ {
		select {
		case text := <-ended:
			return text
		case <-time.After(between):
			if len(rest) > 0 {
				_, _ = in.Write(rest[i%len(rest):][:1])
			}
		}
		if time.Duration(i)*between > gittest.Patience {
			fx.T.Fatalf("%s goes on for ever", command)
		}
	}
}

// TestSlowPushes has clients with a key hold up the server at each place of the conversation where it waits for them.
func TestSlowPushes(t *testing.T) {
	before := runtime.NumGoroutine()
	const limit, forever = 400 * time.Millisecond, time.Hour
	type limits struct{ question, stall, total time.Duration }
	for name, indexer := range indexers {
		t.Run(name, func(t *testing.T) {
			with := func(l limits) *fixture {
				return start(t, func(o *options) {
					o.repo.Indexer, o.QuestionTimeout, o.StallTimeout, o.ReceiveTimeout = indexer, l.question, l.stall, l.total
				})
			}
			source := start(t, nil)
			dir := source.Work("slow")
			commit := source.Commit(dir, "junk", string(randomBytes(t, 100<<10)))
			pack := source.packOf(dir, commit)
			request := append(pktline.Append(nil, repository.ZeroID+" "+commit+" refs/heads/main\x00report-status side-band-64k"), "0000"...)
			join := func(parts ...[]byte) (all []byte) {
				for _, p := range parts {
					all = append(all, p...)
				}
				return all
			}
			const push = "git-receive-pack slow"
			for _, c := range []struct {
				name       string
				limits     limits
				command    string
				head, rest []byte
				between    time.Duration
				want       string
			}{
				{"silent before its commands", limits{limit, forever, forever}, push, nil, nil, limit, "the client has not said for 400ms what it pushes"},
				{"silent in a packet", limits{limit, forever, forever}, push, request[:50], nil, limit, "the client has not said for 400ms what it pushes"},
				{"silent before the pack", limits{forever, limit, forever}, push, request, nil, limit, "nothing of the pack has arrived for 400ms"},
				{"silent in the pack's header", limits{forever, limit, forever}, push, join(request, pack[:7]), nil, limit, "nothing of the pack has arrived for 400ms"},
				{"silent in the pack", limits{forever, limit, forever}, push, join(request, pack[:50000]), nil, limit, "nothing of the pack has arrived for 400ms"},
				{"silent before the trailer", limits{forever, limit, forever}, push, join(request, pack[:len(pack)-20]), nil, limit, "nothing of the pack has arrived for 400ms"},
				{"a byte at a time", limits{forever, forever, limit}, push, join(request, pack[:50000]), pack[50000:], 50 * time.Millisecond, "the pack takes longer than 400ms"},
				{"silent in Git LFS", limits{limit, forever, forever}, "git-lfs-transfer slow upload", []byte("0013put-object " + strings.Repeat("a", 10)), nil, limit, "the client has sent nothing for 400ms"},
			} {
				t.Run(c.name, func(t *testing.T) {
					fx := with(c.limits)
					gittest.MustHold(t, fx.slowly(c.command, c.head, c.rest, c.between), c.want)
					gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("slow"))) == 0 })
					fx.live("slow", "")
					if n := fx.h.count(); n > 0 {
						t.Errorf("%d pushes were deployed", n)
					}
					fx.Git(dir, "push", fx.URL("slow"), "main", "-q")
					fx.live("slow", commit)
				})
			}
		})
	}
	gittest.NoMoreGoroutines(t, before)
}

// TestSlowBuildsAreLeftAlone has the limits be those of what is received only.
func TestSlowBuildsAreLeftAlone(t *testing.T) {
	const limit = 300 * time.Millisecond
	for name, indexer := range indexers {
		t.Run(name, func(t *testing.T) {
			fx := start(t, func(o *options) {
				o.repo.Indexer, o.QuestionTimeout, o.StallTimeout, o.ReceiveTimeout = indexer, time.Minute, limit, time.Minute
			})
			fx.h.setDeploy(func(ctx context.Context, p *Push) error {
				select {
				case <-time.After(4 * limit):
					return p.Accept()
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})
			dir := fx.Work("build")
			fx.Git(dir, "push", "platform", "main")
			fx.live("build", fx.Git(dir, "rev-parse", "HEAD"))
		})
	}
}

// smallDisk mounts a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("this test needs root, to mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestDiskFull fills the disk in the middle of a pack, and of a file for Git LFS.
func TestDiskFull(t *testing.T) {
	for name, indexer := range indexers {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, "4m")
			fx := start(t, func(o *options) {
				o.repo.Dir, o.repo.Indexer, o.repo.Limits.MinFree = filepath.Join(disk, "repos"), indexer, 1
			})
			dir := fx.Work("full")
			first := fx.Git(dir, "rev-parse", "HEAD")
			fx.Git(dir, "push", "platform", "main")
			for i := range 8 {
				fx.Commit(dir, fmt.Sprint("junk", i), string(randomBytes(t, 1<<20)))
			}
			fx.Rejected(dir, []string{"the server's disk is full", "ask the operator to make room", "[remote rejected]"}, "push", "platform", "main")
			fx.live("full", first)
			fx.Git(dir, "reset", "-q", "--hard", first)
			fx.Commit(dir, "small", "small")
			fx.Git(dir, "push", "platform", "main")
			fx.live("full", fx.Git(dir, "rev-parse", "HEAD"))
		})
	}
	t.Run("Git LFS", func(t *testing.T) {
		disk := smallDisk(t, "4m")
		fx := start(t, func(o *options) { o.repo.Dir, o.repo.Limits.MinFree = filepath.Join(disk, "repos"), -1<<40 })
		dir := fx.Work("full")
		fx.Git(dir, "push", "platform", "main")
		first := fx.Git(dir, "rev-parse", "HEAD")
		fx.trackLarge(dir)
		fx.Commit(dir, "big.bin", string(randomBytes(t, 6<<20)))
		fx.Rejected(dir, []string{"the server's disk is full: ask the operator to make room"}, "push", "platform", "main")
		fx.live("full", first)
		gittest.Eventually(t, "no part of it is left", func() bool { return len(fx.largeParts("full")) == 0 })
	})
	t.Run("nearly full", func(t *testing.T) {
		fx := start(t, func(o *options) { o.repo.Limits.MinFree = 1 << 60 })
		dir := fx.Work("full")
		fx.Rejected(dir, []string{"the server's disk is nearly full"}, "push", "platform", "main")
		if found, _ := os.ReadDir(filepath.Join(fx.bare("full"), "objects/pack")); len(found) > 0 {
			t.Errorf("%d files are left", len(found))
		}
	})
}
