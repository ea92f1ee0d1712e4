package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/pack/corpus"
)

// What receiving costs is measured without a deployment: gitd's front (internal/receive) runs in a process of its own with a
// handler that accepts every push at once, as git receive-pack does. It checks objects and connectivity as always. Server CPU is
// that of the server's process and of all that it started, so that sshd's and git's processes count as gitd's goroutines do;
// memory is the most that these had together at one time, without mapped files, sampled every 20 ms.

// measure runs a client to its end, and notes what it and the server took.
func (b *bench) measure(r *receiver, what string, keep bool, run func() error) error {
	before := treeTime(r.process.pid())
	peak := watchMemory(r.process.pid())
	began := time.Now()
	err := run()
	wall := time.Since(began)
	if err != nil {
		peak()
		return fmt.Errorf("%s: %w", r.name, err)
	}
	// sshd's own processes go a moment later, and their time counts when they are gone.
	for end := time.Now().Add(10 * time.Second); len(descendants(r.process.pid())) > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	if memory := peak(); keep {
		c := r.of(what)
		c.wall.add(wall)
		c.cpu = append(c.cpu, treeTime(r.process.pid())-before)
		c.memory = append(c.memory, float64(memory))
	}
	return nil
}

// push pushes main of a bare repository.
func (b *bench) pushBare(r *receiver, from, to string) error {
	_, err := b.command(from, append(gitEnv, "GIT_SSH_COMMAND="+r.ssh), "git", "push", "-q", r.url(to), "+main")
	return err
}

// repositories are what is pushed: one of each size.
type repositories struct{ small, medium, large string }

func (b *bench) repositories() (r repositories, err error) {
	small, err := corpus.Releases(b.ctx, b.say)
	if err != nil {
		return r, err
	}
	r.small = small[0]
	if r.medium, err = corpus.Medium(b.ctx, b.say); err != nil {
		return r, err
	}
	if r.large = b.repository; r.large == "" {
		r.large, err = corpus.Large(b.ctx, b.say)
	}
	return r, err
}

// receive is the section.
func (b *bench) receive() error {
	from, err := b.repositories()
	if err != nil {
		return err
	}
	to, err := b.startReceivers()
	if err != nil {
		return err
	}
	b.report.title("Receiving: gitd, which checks all objects, against OpenSSH sshd and git receive-pack with receive.fsckObjects")
	if err := b.firstPushes(from, to); err != nil {
		return err
	}
	for _, c := range []struct {
		name, path string
		target     float64
	}{{"medium", from.medium, 0.6}, {"large", from.large, 0.6}} {
		what := "one commit, " + c.name
		files, err := b.oneCommit(c.path, c.name+"0", what, to.all())
		if err != nil {
			return err
		}
		b.compare(fmt.Sprintf("one-commit push to the %s one (%d files)", c.name, files), what, to, c.target, c.target)
	}
	b.report.note("gitd lists all files of a commit on every push and checks their names, for the build; git receive-pack looks at none of them. It remembers the trees of an app's last push: right after a restart it reads all of them")
	return b.withoutChange(from.small, "small0", to)
}

// firstPushes pushes whole repositories, in turns.
func (b *bench) firstPushes(from repositories, to *receivers) error {
	for _, c := range []struct {
		name, path string
		rounds     int
		cpu, wall  float64
	}{
		{"small", from.small, b.rounds(10, 5), 0, 0}, {"medium", from.medium, b.rounds(6, 3), 0, 0}, {"large", from.large, b.rounds(3, 1), 0.6, 0.85},
	} {
		size, err := b.sizeOf(c.path)
		if err != nil {
			return err
		}
		what := "first push, " + c.name
		for i := range c.rounds {
			for _, r := range turn(to.all(), i) {
				if err := b.firstPush(r, what, c.path, fmt.Sprintf("%s%d", c.name, i), i > 0); err != nil {
					return err
				}
			}
		}
		b.compare(what+" ("+size+")", what, to, c.cpu, c.wall)
	}
	return nil
}

// turn begins a list with another of its members each round: each one is first once.
func turn(all []*receiver, round int) []*receiver {
	k := round % len(all)
	return append(slices.Clone(all[k:]), all[:k]...)
}

func (b *bench) firstPush(r *receiver, what, from, to string, remove bool) error {
	if err := r.prepare(to); err != nil {
		return err
	}
	if err := b.measure(r, what, true, func() error { return b.pushBare(r, from, to) }); err != nil || !remove {
		return err
	}
	return r.remove(to)
}

// withoutChange pushes what is there already, and runs a command that does nothing.
func (b *bench) withoutChange(from, repository string, to *receivers) error {
	for i := range b.rounds(30, 10) + 1 {
		for _, r := range to.all() {
			if err := b.measure(r, "no change", i > 0, func() error { return b.pushBare(r, from, repository) }); err != nil {
				return err
			}
			err := b.measure(r, "no-op", i > 0, func() error {
				args := append(append([]string{"ssh"}, r.options...), "-p", port(r.address), r.login+"@127.0.0.1", "true")
				_, err := b.command("", nil, args...)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	two := &receivers{ours: to.ours, fsck: to.fsck}
	b.compare("no-change push", "no change", two, 0, 0.5)
	b.compare("no-op command", "no-op", two, 0, 0.4)
	return nil
}

// compare adds the rows of one kind of push. cpu and wall are targets against git with fsckObjects; 0 for no target.
func (b *bench) compare(title, what string, r *receivers, cpu, wall float64) {
	ours, oursGit, fsck, plain := r.ours, r.oursGit, r.fsck, r.plain
	o := ours.of(what)
	b.report.ratio(title+": wall", o.wall, fsck.of(what).wall, wall)
	b.report.ratio("  server CPU", o.cpu, fsck.of(what).cpu, cpu)
	if plain != nil {
		b.report.ratio("  wall, git without fsckObjects", o.wall, plain.of(what).wall, 0)
		b.report.ratio("  server CPU, git without fsckObjects", o.cpu, plain.of(what).cpu, 0)
	}
	if oursGit != nil {
		b.report.ratio("  server CPU, gitd --indexer git", oursGit.of(what).cpu, fsck.of(what).cpu, 0)
	}
	m := app.Size(int64(o.memory.max()))
	if what == "first push, large" {
		b.report.rows = append(b.report.rows, row{"  anonymous memory at most", m, app.Size(int64(fsck.of(what).memory.max())), m, "≤ 200 MB",
			verdict(o.memory.max() <= 200<<20)})
	} else {
		b.report.text("  anonymous memory at most", m, app.Size(int64(fsck.of(what).memory.max())))
	}
	b.say("  %s: wall %s, OpenSSH + git %s; CPU %s, %s; %s", what, seconds(o.wall.median()), seconds(fsck.of(what).wall.median()),
		seconds(o.cpu.median()), seconds(fsck.of(what).cpu.median()), m)
}

// oneCommit pushes commits that change one file each to what the first push of a repository has left. It returns how many files
// the repository has.
func (b *bench) oneCommit(from, to, what string, all []*receiver) (int, error) {
	work := filepath.Join(b.dir, "receive", to+"-work.git")
	if _, err := b.command("", gitEnv, "git", "clone", "-q", "--bare", "--shared", "--branch", "main", "--single-branch", from, work); err != nil {
		return 0, err
	}
	git := func(args ...string) (string, error) {
		out, err := b.command(work, append(gitEnv, "GIT_INDEX_FILE="+filepath.Join(work, "index")), append([]string{"git"}, args...)...)
		return strings.TrimSpace(out), err
	}
	files, err := git("ls-tree", "-r", "-z", "main")
	if err != nil {
		return 0, err
	}
	blobs := sources(files)
	if len(blobs) == 0 {
		return 0, errors.New(from + " has no source files")
	}
	if _, err := git("read-tree", "main"); err != nil {
		return 0, err
	}
	for i := range b.rounds(12, 5) + 1 {
		if err := b.change(git, blobs[(i*7919)%len(blobs)], i); err != nil {
			return 0, err
		}
		for _, r := range turn(all, i) {
			if err := b.measure(r, what, i > 0, func() error { return b.pushBare(r, work, to) }); err != nil {
				return 0, err
			}
		}
	}
	return strings.Count(files, "\x00"), nil
}

// sources picks the source files from what git ls-tree -z says.
func sources(files string) (blobs []string) {
	for f := range strings.SplitSeq(files, "\x00") {
		if strings.HasPrefix(f, "100644 ") && (strings.HasSuffix(f, ".go") || strings.HasSuffix(f, ".c")) && !strings.ContainsAny(f, "\"\\") {
			blobs = append(blobs, f)
		}
	}
	return blobs
}

// change commits a change of one file, a line of git ls-tree, to main.
func (b *bench) change(git func(args ...string) (string, error), entry string, n int) error {
	head, path, _ := strings.Cut(entry, "\t")
	old, err := git("cat-file", "blob", strings.Fields(head)[2])
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "receive", "changed")
	if err := os.WriteFile(file, []byte(old+"\n// change "+strconv.Itoa(n)+"\n"), 0o644); err != nil {
		return err
	}
	blob, err := git("hash-object", "-w", file)
	if err != nil {
		return err
	}
	if _, err := git("update-index", "--cacheinfo", "100644,"+blob+","+path); err != nil {
		return err
	}
	tree, err := git("write-tree")
	if err != nil {
		return err
	}
	commit, err := git("commit-tree", "-p", "main", "-m", "change", tree)
	if err != nil {
		return err
	}
	_, err = git("update-ref", "refs/heads/main", commit)
	return err
}

// sizeOf says how large a repository is.
func (b *bench) sizeOf(repository string) (string, error) {
	out, err := b.command(repository, gitEnv, "git", "count-objects", "-v")
	if err != nil {
		return "", err
	}
	of := map[string]int64{}
	for l := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimSpace(l), ": ")
		of[k], _ = strconv.ParseInt(v, 10, 64)
	}
	return fmt.Sprintf("%d objects, %s", of["in-pack"], app.Size(of["size-pack"]<<10)), nil
}
