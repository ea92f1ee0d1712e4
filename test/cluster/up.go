package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// stopwatch prints how long each step took since the one before it.
type stopwatch struct {
	out   io.Writer
	begin time.Time
	last  time.Time
}

func newStopwatch(out io.Writer) *stopwatch {
	now := time.Now()
	return &stopwatch{out, now, now}
}

func (w *stopwatch) took(what string) {
	now := time.Now()
	fmt.Fprintf(w.out, "       %6.1f s  %s\n", now.Sub(w.last).Seconds(), what)
	w.last = now
}

// up brings the cluster to where everything in it is available. One that runs already is left as it is.
func up(ctx context.Context, dir Dir, bare bool, out io.Writer) error {
	unlock, err := dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	watch := newStopwatch(out)
	s, err := dir.settings()
	if err != nil || !dir.running() || dir.failed(ctx) {
		if err := clean(dir); err != nil { // of what a crash or an earlier failure left
			return err
		}
		if s, err = start(ctx, dir, bare, watch); err != nil {
			return err
		}
	}
	if s.Bare != bare {
		return fmt.Errorf("the cluster in %s was started with --bare=%t: bring it down first", dir, s.Bare)
	}
	if _, err := os.Stat(dir.path("ready")); err != nil {
		if err := waitStarted(ctx, dir, watch); err != nil {
			return err
		}
		a, err := newAPI(dir, fmt.Sprintf("127.0.0.1:%d", s.APIPort))
		if err != nil {
			return err
		}
		if !bare {
			if err := installKnative(ctx, a, watch.took); err != nil {
				return err
			}
		}
		if err := writeFile(dir.path("env"), dir.env(s), 0o644); err != nil {
			return err
		}
		if err := writeFile(dir.path("ready"), "", 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "-----> Up after %.1f s. To use it: source %s\n", time.Since(watch.begin).Seconds(), dir.path("env"))
	} else {
		fmt.Fprintf(out, "-----> Up already. To use it: source %s\n", dir.path("env"))
	}
	fmt.Fprint(out, dir.env(s))
	return nil
}

// start makes what a node needs and starts its daemon.
func start(ctx context.Context, dir Dir, bare bool, watch *stopwatch) (s Settings, err error) {
	if os.Geteuid() != 0 {
		return s, errors.New("a cluster makes namespaces and mounts: run it as root")
	}
	sum := sha256.Sum256([]byte(dir))
	s = Settings{Bare: bare, Cgroup: "gitd-cluster-" + hex.EncodeToString(sum[:4])}
	if s.Programs, s.Images, err = fill(ctx, bare, watch); err != nil {
		return s, err
	}
	fmt.Fprintln(watch.out, "-----> Starting the node")
	return s, startDaemon(dir, &s)
}

// fill builds what the cache lacks, and returns where the programs and the images are.
func fill(ctx context.Context, bare bool, watch *stopwatch) (programDir, imageDir string, err error) {
	if err := checkTools(bare); err != nil {
		return "", "", err
	}
	names := sortedKeys(programs)
	if bare {
		names = []string{"kubernetes"}
	}
	fmt.Fprintln(watch.out, "-----> Building what is missing of Kubernetes, Knative and their images")
	if programDir, err = build(ctx, names, watch.out); err != nil {
		return "", "", err
	}
	watch.took("binaries")
	if !bare {
		if imageDir, err = makeImages(ctx, programDir); err != nil {
			return "", "", err
		}
		watch.took("images")
	}
	return programDir, imageDir, nil
}

// tools are the programs of Debian that a node consists of, besides what is built, and the packages they are in.
var tools = map[string]string{
	"containerd":          "containerd",
	"ctr":                 "containerd",
	"runc":                "runc",
	"/usr/lib/cni/bridge": "containernetworking-plugins",
	"iptables":            "iptables",
	"conntrack":           "conntrack",
	"slirp4netns":         "slirp4netns",
}

// checkTools fails with the names of the packages that are missing.
func checkTools(bare bool) error {
	if bare {
		return nil
	}
	missing := map[string]bool{}
	for tool, pkg := range tools {
		_, err := exec.LookPath(tool)
		if err != nil && !filepath.IsAbs(tool) { // root's PATH may lack it after su
			_, err = exec.LookPath("/usr/sbin/" + tool)
		}
		if err != nil {
			missing[pkg] = true
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the node needs more of Debian: apt-get install %s", strings.Join(sortedKeys(missing), " "))
	}
	return nil
}

// waitStarted waits until the parts of the node are healthy, and the node is ready.
func waitStarted(ctx context.Context, dir Dir, watch *stopwatch) error {
	begin, told := watch.last, 0
	for {
		var state nodeState
		err := dir.control(ctx, "GET", "/status", &state)
		if err == nil {
			for ; told < len(state.Timings); told++ {
				t := state.Timings[told]
				fmt.Fprintf(watch.out, "       %6.1f s  %s\n", t.Took.Seconds(), t.What)
			}
			if state.Failed != "" {
				return fmt.Errorf("%s\nThe logs are in %s; up tries again from the beginning, down removes all", state.Failed, dir.path("log"))
			}
			if state.Started {
				watch.last = time.Now()
				fmt.Fprintf(watch.out, "-----> The node is ready after %.1f s\n", watch.last.Sub(begin).Seconds())
				return nil
			}
		} else if !dir.running() {
			return fmt.Errorf("the node did not start:\n%s", tail(dir.path("log", "daemon.log"), 10))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed reports whether the node runs but could not start all of its parts.
func (d Dir) failed(ctx context.Context) bool {
	var state nodeState
	return d.control(ctx, "GET", "/status", &state) == nil && state.Failed != ""
}

// clean ends what is left of a cluster and removes its directory's content.
func clean(dir Dir) error {
	if err := stopDaemon(dir); err != nil {
		return err
	}
	if s, err := dir.settings(); err == nil {
		if err := removeCgroup(s.Cgroup); err != nil {
			return err
		}
	} else if entries, _ := os.ReadDir(string(dir)); len(entries) > 0 {
		// Nothing says that these files are a cluster's.
		return fmt.Errorf("%s holds something else than a cluster: choose another directory", dir)
	}
	entries, err := os.ReadDir(string(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(string(dir), e.Name())); err != nil {
			return err
		}
	}
	return nil
}
