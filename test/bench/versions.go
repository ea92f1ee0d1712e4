package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sameSpeed is how much slower a build may be than the one it is measured against, for noise.
const sameSpeed = 1.05

// build is one of the two builds of gitd that are measured in turn.
type build struct {
	*bench
	name string

	wall, cpu, memory samples // of gitd version; memory in bytes
	push              *pushes
	web               *way
	app               string // that is at zero
	instance          instance
	cold              samples
	idle              float64 // bytes of the server's memory after its start
}

// versions measures this build and the one of -against in turn, each with a server of its own.
func (b *bench) versions() error {
	if b.against == "" {
		b.say("  not measured: -against DIR names another build, a folder with gitd and parts as make build leaves it")
		return nil
	}
	now, before := b.build("now", b.bin), b.build("before", b.against)
	both := []*build{now, before}
	for _, step := range []func([]*build) error{b.starts, b.serveBoth, b.pushBoth, b.proxyBoth, b.coldBoth} {
		if err := step(both); err != nil {
			return err
		}
	}
	b.compareBuilds(now, before)
	return nil
}

func (b *bench) build(name, bin string) *build {
	own := &bench{ctx: b.ctx, quick: b.quick, repo: b.repo, bin: bin, dir: filepath.Join(b.dir, name), began: b.began, chosen: b.chosen, done: map[string]bool{}}
	b.onExit(own.clean)
	return &build{bench: own, name: name}
}

// starts measures gitd version.
func (b *bench) starts(both []*build) error {
	rounds := b.rounds(60, 20)
	for range rounds {
		for _, x := range both {
			if err := x.start(); err != nil {
				return err
			}
		}
	}
	b.say("  gitd version: %d times each", rounds)
	return nil
}

// start runs gitd version under time(1): what this process has in memory would count as the child's otherwise.
func (x *build) start() error {
	c := exec.CommandContext(x.ctx, "time", "-f", "%M", filepath.Join(x.bin, "gitd"), "version")
	var out strings.Builder
	c.Stderr = &out
	began := time.Now()
	if err := c.Run(); err != nil {
		return fmt.Errorf("gitd version: %w: %s", err, out.String())
	}
	x.wall.add(time.Since(began))
	x.cpu.add(c.ProcessState.UserTime() + c.ProcessState.SystemTime())
	kilobytes, err := strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
	if err != nil {
		return fmt.Errorf("time says %q", out.String())
	}
	x.memory = append(x.memory, kilobytes*1024)
	return nil
}

// serveBoth starts the two servers.
func (b *bench) serveBoth(both []*build) error {
	for _, x := range both {
		if err := os.MkdirAll(x.dir, 0o755); err != nil {
			return err
		}
		if err := os.Setenv("GITD_PARTS", filepath.Join(x.bin, "parts")); err != nil {
			return err
		}
		s, err := x.useServer()
		if err != nil {
			return err
		}
		x.idle = float64(anonymous(s.process.pid()))
	}
	return os.Setenv("GITD_PARTS", filepath.Join(b.bin, "parts"))
}

// pushBoth pushes one-line changes of the Go example to both in turn.
func (b *bench) pushBoth(both []*build) error {
	for _, x := range both {
		src, err := x.newSource("go-"+x.name, filepath.Join(b.repo, "examples/go"))
		if err != nil {
			return err
		}
		x.push = &pushes{bench: x.bench, server: x.server, name: "bench-go", src: src, split: make([]samples, len(parts))}
		if err := x.push.warm(); err != nil {
			return err
		}
	}
	rounds := b.rounds(12, 4)
	for i := range rounds {
		for _, x := range both {
			if err := x.push.round(i, rounds); err != nil {
				return err
			}
		}
	}
	return nil
}

// proxyBoth loads one instance behind each in turn.
func (b *bench) proxyBoth(both []*build) error {
	var ways []*way
	for _, x := range both {
		s, _, err := x.bench.web()
		if err != nil {
			return err
		}
		x.web = &way{name: x.name, used: s.carried, url: "http://" + s.HTTP + "/", host: "web.localhost"}
		ways = append(ways, x.web)
	}
	return b.load(ways, fewConnections)
}

// coldBoth asks an app at zero of each in turn.
func (b *bench) coldBoth(both []*build) error {
	for _, x := range both {
		x.app = "cold"
		s, _, err := x.useApp(x.app, "[io.gitd.web]\nwindow = \""+coldWindow+"\"\nmax-scale = 1\n")
		if err != nil {
			return err
		}
		if x.instance, err = s.who(x.app); err != nil {
			return err
		}
	}
	for range b.rounds(6, 2) {
		b.say("  waiting for both apps to be at zero")
		for _, x := range both {
			if err := x.waitForZero(x.app); err != nil {
				return err
			}
		}
		for _, x := range both {
			i, took, err := x.firstRequest(x.app)
			if err != nil {
				return err
			}
			if i.started == x.instance.started {
				return errors.New("the instance was not at zero")
			}
			x.instance = i
			x.cold.add(took)
		}
	}
	return nil
}

// compareBuilds writes the rows: in the column of the peer is the build of -against.
func (b *bench) compareBuilds(now, before *build) {
	r := &b.report
	r.title("This build against the one in " + before.bin)
	r.ratio("gitd version: wall time, with time(1)", now.wall, before.wall, sameSpeed)
	r.ratio("  processor time", now.cpu, before.cpu, sameSpeed)
	r.text("  resident memory", megabytes(now.memory.median()), megabytes(before.memory.median()))
	r.text("size of the program", fileSize(now), fileSize(before))
	r.text("server after its start: memory without mapped files", megabytes(now.idle), megabytes(before.idle))
	r.ratio("Go, one-line change: push → live", now.push.walls, before.push.walls, sameSpeed)
	for i, p := range parts {
		r.ratio("  "+p.name, now.push.split[i], before.push.split[i], 0)
	}
	r.ratio("  gitd's own share", now.push.own, before.push.own, sameSpeed)
	r.rate("proxy, small responses: requests a second", now.web.rates, before.web.rates, 1/sameSpeed)
	r.text("  processor time a request", micro(now.web.cpu), micro(before.web.cpu))
	r.count("  failed requests", now.web.failed, now.web.requests)
	r.ratio("cold start from zero: first answer", now.cold, before.cold, sameSpeed)
	r.text("server at the end: memory without mapped files", megabytes(float64(anonymous(now.server.process.pid()))), megabytes(float64(anonymous(before.server.process.pid()))))
}

func fileSize(x *build) string {
	info, err := os.Stat(filepath.Join(x.bin, "gitd"))
	if err != nil {
		return err.Error()
	}
	return megabytes(float64(info.Size()))
}
