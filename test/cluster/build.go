package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// kubernetesVersion is what the binaries call themselves; go.mod says what they are.
const kubernetesVersion = "v1.34.3"

// programs are the binaries of a cluster and the packages they are built from.
var programs = map[string]string{
	"kubernetes": "./kubernetes",
	"coredns":    "./coredns",
	"pause":      "./pause",
	"activator":  "knative.dev/serving/cmd/activator",
	"autoscaler": "knative.dev/serving/cmd/autoscaler",
	"controller": "knative.dev/serving/cmd/controller",
	"queue":      "knative.dev/serving/cmd/queue",
	"webhook":    "knative.dev/serving/cmd/webhook",
	"kourier":    "knative.dev/net-kourier/cmd/kourier",
}

// linkFlags leave the symbols out and say the version, which the API server offers and kubectl compares with its own.
func linkFlags() string {
	const p = "k8s.io/component-base/version"
	return fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=34"+
		" -X %[1]s.gitTreeState=clean -X %[1]s.buildDate=2026-01-01T00:00:00Z", p, kubernetesVersion)
}

// moduleDir finds the sources of this module: in the working directory, or where this program was compiled from.
func moduleDir() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	_, source, _, _ := runtime.Caller(0)
	for _, dir := range []string{here, filepath.Join(here, "test", "cluster"), filepath.Dir(source)} {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/gitd-io/gitd/test/cluster\n") {
			return dir, nil
		}
	}
	return "", errors.New("the sources of test/cluster are not here: run it in that folder")
}

// buildKey names what a build would make: it is the hash of all that goes into it.
func buildKey(module string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH, linkFlags())
	files := []string{"go.mod", "go.sum"}
	for _, p := range programs {
		if strings.HasPrefix(p, "./") {
			sources, err := filepath.Glob(filepath.Join(module, p, "*.go"))
			if err != nil {
				return "", err
			}
			for _, s := range sources {
				files = append(files, strings.TrimPrefix(s, module+"/"))
			}
		}
	}
	return hashFiles(h, module, files)
}

// build makes the programs that are missing and returns the directory of all.
func build(ctx context.Context, names []string, progress io.Writer) (string, error) {
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	key, err := buildKey(module)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "programs-"+key)
	unlock, err := lockCache(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	prune(cache, "programs-", dir)

	var packages []string
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			packages = append(packages, programs[name])
		}
	}
	if len(packages) > 0 {
		if err := compile(ctx, module, dir, packages, progress); err != nil {
			return "", err
		}
	}
	// kubectl is one of the programs in the one binary: the name that it is called by selects it.
	link := filepath.Join(dir, "kubectl")
	if _, err := os.Lstat(link); err != nil {
		if err := os.Symlink("kubernetes", link); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func compile(ctx context.Context, module, dir string, packages []string, progress io.Writer) error {
	staging, err := os.MkdirTemp(dir, ".building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	// One go build for all: the packages that they share are compiled once. -v prints each that is compiled.
	args := append([]string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", linkFlags(), "-o", staging + "/"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	start := time.Now()
	var compiled atomic.Int64
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(progress, "       %s: %d packages compiled\n", time.Since(start).Round(time.Second), compiled.Load())
			case <-done:
				return
			}
		}
	}()
	var other []string // what is no package: errors, downloads
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if line := lines.Text(); strings.ContainsAny(line, " \t") {
			other = append(other, line)
		} else {
			compiled.Add(1)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, strings.Join(other[max(0, len(other)-20):], "\n"))
	}
	built, err := os.ReadDir(staging)
	if err != nil {
		return err
	}
	for _, b := range built {
		if err := os.Rename(filepath.Join(staging, b.Name()), filepath.Join(dir, b.Name())); err != nil {
			return err
		}
	}
	return nil
}

// hashFiles adds names and contents to h and returns the sum in short.
func hashFiles(h interface {
	io.Writer
	Sum([]byte) []byte
}, dir string, files []string) (string, error) {
	for _, name := range sorted(files) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", name, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// lockCache keeps two runs from building the same at the same time.
func lockCache(cache string) (unlock func(), err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// prune marks keep as used now and removes what was not used for a day: a cluster from another checkout may still run from it.
func prune(cache, prefix, keep string) {
	now := time.Now()
	_ = os.Chtimes(keep, now, now)
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), prefix) && now.Sub(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(filepath.Join(cache, e.Name()))
		}
	}
}
