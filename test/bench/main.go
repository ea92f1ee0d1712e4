// Command bench measures gitd beside its peers, interleaved in one run, and prints each figure next to its target.
// It judges nothing: the exit status is 0 whatever the figures are, and 1 when something could not be measured.
//
//	go run ./test/bench [-run REGEXP] [-quick] [-bin DIR] [-against DIR] [-repository DIR]
//
// It needs root, bin/gitd and bin/parts (make build), and the programs that it compares with: sshd, nginx, caddy, wrk,
// runc and dockerd. It starts all of them itself on loopback ports and in a folder of its own, and stops them by their ids.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// section is one part of the benchmark that -run can choose.
type section struct {
	name  string
	about string
	needs []string // programs
	run   func(*bench) error
}

var sections = slices.Concat([]section{
	{"push-go", "one-line change of examples/go, push to live, against go build alone", []string{"git", "ssh", "go"}, (*bench).pushGo},
	{"push-pack", "the same change against pack build --publish alone, with Docker", []string{"git", "ssh", "go", "dockerd"}, (*bench).pushPack},
	{"push-node", "one-line change of examples/node, push to live", []string{"git", "ssh"}, (*bench).pushNode},
	{"ssh", "no-op command and no-change push, against OpenSSH and git", []string{"git", "ssh", "ssh-keygen", "sshd"}, (*bench).ssh},
	{"receive", "first push of a small, a medium and a large repository, one commit, no change, against OpenSSH and git", []string{"git", "ssh", "ssh-keygen", "sshd"}, (*bench).receive},
	{"proxy", "small responses through the proxy, against nginx", []string{"git", "ssh", "wrk", "nginx", "runc"}, (*bench).proxyNginx},
	{"proxy-caddy", "small responses through the proxy, against Caddy", []string{"git", "ssh", "wrk", "caddy", "runc"}, (*bench).proxyCaddy},
	{"tls", "small responses over TLS and handshakes, against nginx and Caddy with the same certificate and cipher", []string{"git", "ssh", "wrk", "nginx", "caddy", "runc"}, (*bench).tls},
	{"cold", "first request to an app at zero, against bare runc run of the same spec", []string{"git", "ssh", "runc"}, (*bench).cold},
	{"functions", "first request to each function of examples at zero, against a plain app in its language", []string{"git", "ssh"}, (*bench).functions},
	{"cutover", "failed requests through two pushes under load", []string{"git", "ssh"}, (*bench).cutover},
	{"changes", "a change of the configuration and a rollback under load", []string{"git", "ssh"}, (*bench).changes},
	{"restart", "requests through kill -9 of gitd and its restart", []string{"git", "ssh"}, (*bench).restart},
	{"scale", "a start, commands and pushes with 200,000 releases of 1,000 apps", []string{"git", "ssh", "ssh-keygen"}, (*bench).scale},
	{"events", "events accepted and delivered, against a NATS server that syncs each message", []string{"go"}, (*bench).events},
	{"versions", "this build in turn with the one of -against: start, memory, push, proxy, cold start", []string{"git", "ssh", "ssh-keygen", "wrk", "time"}, (*bench).versions},
	{"running", "500 apps with an instance each: memory, descriptors, kill -9, commands and pushes", []string{"git", "ssh", "ssh-keygen"}, (*bench).running},
}, languageSections())

// packageOf names the Debian package that brings a program.
var packageOf = map[string]string{
	"git": "git", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "sshd": "openssh-server", "nginx": "nginx-light", "wrk": "wrk",
	"caddy": "caddy", "time": "time", "dockerd": "docker.io", "runc": "runc", "go": "golang-go",
}

// bench is one run.
type bench struct {
	ctx   context.Context
	quick bool
	repo  string // root of gitd's own tree
	// repository is a bare one that stands for the large repository, or "".
	repository string
	bin        string // gitd and parts
	against    string // another build of them, or ""
	dir        string // everything that the run writes
	began      time.Time
	cleanup    []func()
	server     *server
	pack       *pack
	chosen     func(name string) bool
	done       map[string]bool // sections that another one measured on its way
	report     report
}

func main() {
	if dir := os.Getenv(receiveDir); dir != "" {
		if err := serveReceive(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	quick := flag.Bool("quick", false, "fewer rounds: three minutes instead of ten")
	choose := flag.String("run", "", "only the sections whose name matches this regular expression")
	bin := flag.String("bin", "bin", "folder with gitd and parts, as make build leaves it")
	repository := flag.String("repository", "", "a bare repository at hand that stands for the large one of the section receive")
	against := flag.String("against", "", "folder with another build of gitd and parts, for the section versions")
	list := flag.Bool("list", false, "list the sections")
	flag.Parse()
	if *list {
		for _, s := range sections {
			fmt.Printf("%-16s %s\n", s.name, s.about)
		}
		return
	}
	chosen, err := regexp.Compile(*choose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -run:", err)
		os.Exit(2)
	}
	os.Exit(run(*bin, *against, *quick, *repository, chosen.MatchString))
}

func run(bin, against string, quick bool, repository string, chosen func(string) bool) (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{ctx: ctx, against: against, quick: quick, repository: repository, began: time.Now(), chosen: chosen, done: map[string]bool{}}
	if err := b.prepare(bin); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	defer b.clean()
	for _, s := range sections {
		if !chosen(s.name) || b.done[s.name] || ctx.Err() != nil {
			continue
		}
		b.say("%s: %s", s.name, s.about)
		err := missing(s.needs)
		if err == nil {
			err = s.run(b)
		}
		if err != nil && ctx.Err() == nil {
			b.report.failed(s.name, err)
			b.say("%s: not measured: %v", s.name, err)
		}
	}
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		return 1
	}
	b.say("done")
	b.report.print(os.Stdout)
	if len(b.report.failures) > 0 {
		return 1
	}
	return 0
}

// prepare finds the tree and what make build left in it, and makes the folder of this run.
func (b *bench) prepare(bin string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: gitd, sshd and dockerd are started by it")
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	b.repo = filepath.Dir(strings.TrimSpace(string(out)))
	if !filepath.IsAbs(bin) {
		bin = filepath.Join(b.repo, bin)
	}
	b.bin = bin
	if b.against != "" {
		if b.against, err = filepath.Abs(b.against); err != nil {
			return err
		}
	}
	for _, p := range []string{"gitd", "parts"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			return fmt.Errorf("%s is missing: run make build", filepath.Join(bin, p))
		}
	}
	if err := os.Setenv("GITD_PARTS", filepath.Join(bin, "parts")); err != nil {
		return err
	}
	b.dir, err = os.MkdirTemp("", "gitd-bench-")
	if err != nil {
		return err
	}
	b.onExit(func() {
		unmountBelow(b.dir) // what dockerd leaves behind
		if err := os.RemoveAll(b.dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench: left behind:", err)
		}
	})
	load, _ := os.ReadFile("/proc/loadavg")
	b.report.load = strings.Join(strings.Fields(string(load))[:1], "")
	b.say("in %s; load before the run %s", b.dir, b.report.load)
	return nil
}

// unmountBelow detaches every mount below a folder, the last one first.
func unmountBelow(dir string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(text), "\n")
	for _, line := range slices.Backward(lines) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
}

// onExit runs f at the end of the run, last come first served.
func (b *bench) onExit(f func()) { b.cleanup = append(b.cleanup, f) }

func (b *bench) clean() {
	for i := len(b.cleanup) - 1; i >= 0; i-- {
		b.cleanup[i]()
	}
	b.cleanup = nil
}

// say prints a line of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// rounds is the number of repetitions: full, or quick's.
func (b *bench) rounds(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

// missing says which of the programs are not installed, and what installs them.
func missing(programs []string) error {
	var absent, packages []string
	for _, p := range programs {
		if _, err := lookPath(p); err != nil {
			absent = append(absent, p)
			packages = append(packages, packageOf[p])
		}
	}
	if len(absent) == 0 {
		return nil
	}
	return fmt.Errorf("%s is not installed: apt-get install %s", strings.Join(absent, ", "), strings.Join(packages, " "))
}

// lookPath finds a program also where daemons live, which is not in everyone's PATH.
func lookPath(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, d := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p, nil
		}
	}
	return "", exec.ErrNotFound
}
