package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/receive"
	"github.com/gitd-io/gitd/internal/receive/pack/corpus"
)

// What receiving costs is measured without a deployment: gitd's front (internal/receive) runs in a process of its own with a
// handler that accepts every push at once, as git receive-pack does. It checks objects and connectivity as always. Server CPU is
// that of the server's process and of all that it started, so that sshd's and git's processes count as gitd's goroutines do;
// memory is the most that these had together at one time, without mapped files, sampled every 20 ms.

// Environment of the process that serves: the folder of repositories, the indexer, and where to tell the address.
const (
	receiveDir     = "GITD_BENCH_RECEIVE"
	receiveIndexer = "GITD_BENCH_INDEXER"
)

// acceptAll is the rest of gitd for the receiver.
type acceptAll struct{}

func (acceptAll) Identify(context.Context, string) (app.Key, error) {
	return app.Key{Name: "bench", Admin: true}, nil
}
func (acceptAll) Authorize(_ context.Context, _ app.Key, name string, _ app.Verb) (app.App, error) {
	return app.App{ID: 1, Name: name}, nil
}
func (acceptAll) Confirm(context.Context, app.Key, string, int64, app.Verb) error { return nil }
func (acceptAll) Create(_ context.Context, _ app.Key, name string) (app.App, error) {
	return app.App{ID: 1, Name: name}, nil
}
func (acceptAll) WhileAbsent(_ context.Context, _ string, f func() error) error { return f() }
func (acceptAll) ReadsInput([]string) bool                                      { return false }
func (acceptAll) Deploy(_ context.Context, p *receive.Push) error               { return p.Accept() }
func (acceptAll) Command(context.Context, app.Key, []string, io.Reader, io.Writer, io.Writer) int {
	return 0
}

// serveReceive is the process that serves, until it is asked to end.
func serveReceive(dir string) error {
	o := receive.Options{Dir: filepath.Join(dir, "repos"), HostKeyFile: filepath.Join(dir, "host_key"), Handler: acceptAll{}, MaxPack: 4 << 30, MaxCheckout: 8 << 30, Indexer: receive.NewPackIndexer()}
	if os.Getenv(receiveIndexer) == "git" {
		o.Indexer = receive.NewGitIndexer()
	}
	s, err := receive.New(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(l.Addr().String()), 0o600); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = s.Shutdown(context.Background()) })
	return s.Serve(l)
}

// receiver is a server that takes pushes.
type receiver struct {
	name     string
	process  *process
	address  string
	login    string
	ssh      string // GIT_SSH_COMMAND
	options  []string
	url      func(repository string) string
	prepare  func(repository string) error // before the first push to a repository
	remove   func(repository string) error
	measured map[string]*cost
}

// cost are the measurements of one kind of push.
type cost struct{ wall, cpu, memory samples }

func (r *receiver) of(what string) *cost {
	if r.measured[what] == nil {
		r.measured[what] = &cost{}
	}
	return r.measured[what]
}

// receivers starts gitd with both indexers, and sshd, which serves repositories with and without receive.fsckObjects.
func (b *bench) receivers() (ours, oursGit, fsck, plain *receiver, err error) {
	dir := filepath.Join(b.dir, "receive")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, nil, err
	}
	key := filepath.Join(dir, "key")
	if _, err := b.command("", nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", key); err != nil {
		return nil, nil, nil, nil, err
	}
	options := sshOptions(key, filepath.Join(dir, "known_hosts"))
	ssh := "ssh " + strings.Join(options, " ")
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, nil, err
	}
	gitd := func(indexer string) (*receiver, error) {
		d := filepath.Join(dir, "gitd-"+indexer)
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
		p, err := start("gitd's receiver", []string{receiveDir + "=" + d, receiveIndexer + "=" + indexer}, nil, self)
		if err != nil {
			return nil, err
		}
		b.onExit(func() { p.stop(5 * time.Second) })
		r := &receiver{name: "gitd", process: p, ssh: ssh, options: options, login: "git", measured: map[string]*cost{}}
		err = p.wait(b.ctx, 20*time.Second, func() error {
			a, err := os.ReadFile(filepath.Join(d, "address"))
			r.address = string(a)
			return err
		})
		r.url = func(repository string) string { return "ssh://git@" + r.address + "/" + repository }
		r.prepare = func(string) error { return nil }
		r.remove = func(repository string) error { return os.RemoveAll(filepath.Join(d, "repos", repository+".git")) }
		return r, err
	}
	if ours, err = gitd("gitd"); err != nil {
		return nil, nil, nil, nil, err
	}
	if oursGit, err = gitd("git"); err != nil {
		return nil, nil, nil, nil, err
	}
	sshd := func(name, check string) (*receiver, error) {
		d := filepath.Join(dir, name)
		address, login, p, err := b.startSSHD(d, key+".pub")
		if err != nil {
			return nil, err
		}
		path := func(repository string) string { return filepath.Join(d, repository+".git") }
		return &receiver{name: "OpenSSH + git", process: p, address: address, login: login, ssh: ssh, options: options, measured: map[string]*cost{},
			url: func(repository string) string { return "ssh://" + login + "@" + address + path(repository) },
			prepare: func(repository string) error {
				if _, err := os.Stat(path(repository)); err == nil {
					return nil
				}
				if _, err := b.command(d, gitEnv, "git", "init", "-q", "--bare", "-b", "main", path(repository)); err != nil {
					return err
				}
				for k, v := range map[string]string{"receive.fsckObjects": check, "receive.autogc": "false", "gc.auto": "0",
					"fsck.badTimezone": "ignore", "receive.fsck.badTimezone": "ignore", "receive.fsck.missingSpaceBeforeDate": "ignore",
					"receive.fsck.zeroPaddedFilemode": "ignore"} { // what gitd lets pass, too
					if _, err := b.command(d, gitEnv, "git", "--git-dir", path(repository), "config", k, v); err != nil {
						return err
					}
				}
				return nil
			},
			remove: func(repository string) error { return os.RemoveAll(path(repository)) }}, nil
	}
	if fsck, err = sshd("sshd-fsck", "true"); err != nil {
		return nil, nil, nil, nil, err
	}
	plain, err = sshd("sshd-plain", "false")
	return ours, oursGit, fsck, plain, err
}

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

// receive is the section.
func (b *bench) receive() error {
	small, err := corpus.Releases(b.ctx, b.say)
	if err != nil {
		return err
	}
	medium, err := corpus.Medium(b.ctx, b.say)
	if err != nil {
		return err
	}
	large := b.repository
	if large == "" {
		if large, err = corpus.Large(b.ctx, b.say); err != nil {
			return err
		}
	}
	ours, oursGit, fsck, plain, err := b.receivers()
	if err != nil {
		return err
	}
	all := []*receiver{ours, oursGit, fsck, plain}
	b.report.title("Receiving: gitd, which checks all objects, against OpenSSH sshd and git receive-pack with receive.fsckObjects")
	for _, c := range []struct {
		name, path string
		rounds     int
		cpu, wall  float64
	}{
		{"small", small[0], b.rounds(10, 5), 0, 0}, {"medium", medium, b.rounds(6, 3), 0, 0}, {"large", large, b.rounds(3, 1), 0.6, 0.85},
	} {
		size, err := b.sizeOf(c.path)
		if err != nil {
			return err
		}
		what := "first push, " + c.name
		for i := range c.rounds {
			for k := range all { // in turns, each one first once
				r := all[(i+k)%len(all)]
				to := fmt.Sprintf("%s%d", c.name, i)
				if err := r.prepare(to); err != nil {
					return err
				}
				if err := b.measure(r, what, true, func() error { return b.pushBare(r, c.path, to) }); err != nil {
					return err
				}
				if i > 0 {
					if err := r.remove(to); err != nil {
						return err
					}
				}
			}
		}
		b.compare(what+" ("+size+")", what, ours, oursGit, fsck, plain, c.cpu, c.wall)
	}
	for _, c := range []struct {
		name, path string
		target     float64
	}{{"medium", medium, 0.6}, {"large", large, 0.6}} {
		what := "one commit, " + c.name
		files, err := b.oneCommit(c.path, c.name+"0", what, all)
		if err != nil {
			return err
		}
		b.compare(fmt.Sprintf("one-commit push to the %s one (%d files)", c.name, files), what, ours, oursGit, fsck, plain, c.target, c.target)
	}
	b.report.note("gitd lists all files of a commit on every push and checks their names, for the build; git receive-pack looks at none of them. It remembers the trees of an app's last push: right after a restart it reads all of them")
	rounds := b.rounds(30, 10)
	for i := range rounds + 1 {
		for _, r := range all {
			if err := b.measure(r, "no change", i > 0, func() error { return b.pushBare(r, small[0], "small0") }); err != nil {
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
	b.compare("no-change push", "no change", ours, nil, fsck, nil, 0, 0.5)
	b.compare("no-op command", "no-op", ours, nil, fsck, nil, 0, 0.4)
	return nil
}

// compare adds the rows of one kind of push. cpu and wall are targets against git with fsckObjects; 0 is none.
func (b *bench) compare(title, what string, ours, oursGit, fsck, plain *receiver, cpu, wall float64) {
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
	var blobs []string
	for f := range strings.SplitSeq(files, "\x00") {
		if strings.HasPrefix(f, "100644 ") && (strings.HasSuffix(f, ".go") || strings.HasSuffix(f, ".c")) && !strings.ContainsAny(f, "\"\\") {
			blobs = append(blobs, f)
		}
	}
	if len(blobs) == 0 {
		return 0, errors.New(from + " has no source files")
	}
	if _, err := git("read-tree", "main"); err != nil {
		return 0, err
	}
	for i := range b.rounds(12, 5) + 1 {
		head, path, _ := strings.Cut(blobs[(i*7919)%len(blobs)], "\t")
		old, err := git("cat-file", "blob", strings.Fields(head)[2])
		if err != nil {
			return 0, err
		}
		file := filepath.Join(b.dir, "receive", "changed")
		if err := os.WriteFile(file, []byte(old+"\n// change "+strconv.Itoa(i)+"\n"), 0o644); err != nil {
			return 0, err
		}
		blob, err := git("hash-object", "-w", file)
		if err != nil {
			return 0, err
		}
		if _, err := git("update-index", "--cacheinfo", "100644,"+blob+","+path); err != nil {
			return 0, err
		}
		tree, err := git("write-tree")
		if err != nil {
			return 0, err
		}
		commit, err := git("commit-tree", "-p", "main", "-m", "change", tree)
		if err != nil {
			return 0, err
		}
		if _, err := git("update-ref", "refs/heads/main", commit); err != nil {
			return 0, err
		}
		for k := range all {
			r := all[(i+k)%len(all)]
			if err := b.measure(r, what, i > 0, func() error { return b.pushBare(r, work, to) }); err != nil {
				return 0, err
			}
		}
	}
	return strings.Count(files, "\x00"), nil
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

// treeTime returns the processor time of a process and of all that it started, in seconds.
func treeTime(pid int) float64 {
	total := 0.0
	for _, p := range append(descendants(pid), pid) {
		if f, ok := statFields(p); ok && len(f) > 14 {
			for _, ticks := range f[11:15] { // of its own, and of children that are gone
				n, _ := strconv.ParseFloat(ticks, 64)
				total += n / 100
			}
		}
	}
	return total
}

// descendants returns the children of a process, theirs, and so on.
func descendants(pid int) (found []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range threads {
		text, _ := os.ReadFile(t)
		for child := range strings.FieldsSeq(string(text)) {
			if p, err := strconv.Atoi(child); err == nil {
				found = append(append(found, p), descendants(p)...)
			}
		}
	}
	return found
}

// watchMemory samples the anonymous memory of a process and of all that it started, until the function that it returns is called,
// which says how much it was at most.
func watchMemory(pid int) func() int64 {
	stop := make(chan struct{})
	var most int64
	var done sync.WaitGroup
	done.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			now := anonymous(pid)
			for _, p := range descendants(pid) {
				now += anonymous(p)
			}
			most = max(most, now)
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	return func() int64 {
		close(stop)
		done.Wait()
		return most
	}
}

func anonymous(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for l := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
