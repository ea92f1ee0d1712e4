package pack

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIndex compares with git index-pack in one interleaved run: processor time, wall time and memory, the median of
// each. The pack is GITD_BENCH_PACK, or is made of the module cache's sources.
func BenchmarkIndex(b *testing.B) {
	path := os.Getenv("GITD_BENCH_PACK")
	if path == "" {
		path = sourcesPack(b)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	repository := b.TempDir()
	git(b, repository, "", "init", "-q", "--bare")
	type figures struct{ cpu, wall, memory float64 }
	var ours, theirs []figures
	of := func(c *exec.Cmd, started time.Time) figures {
		s := c.ProcessState
		return figures{(s.UserTime() + s.SystemTime()).Seconds(), time.Since(started).Seconds(), float64(s.SysUsage().(*syscall.Rusage).Maxrss) / 1024}
	}
	open := func() *os.File {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		return f
	}
	objects, anonymous := 0, int64(0)
	for b.Loop() {
		f := open()
		started := time.Now()
		a, c := inProcess(b, f, Options{Dir: b.TempDir(), NoSync: true})
		if a.Error != "" {
			b.Fatal(a.Error)
		}
		objects, anonymous = a.Result.Objects, max(anonymous, a.Anonymous)
		ours = append(ours, of(c, started))
		_ = f.Close()

		f = open()
		c = exec.Command("git", "-c", "core.fsync=none", "index-pack", "--stdin", "--fix-thin", "--strict")
		c.Dir, c.Stdin = repository, f
		started = time.Now()
		if out, err := c.CombinedOutput(); err != nil {
			b.Fatalf("%v %s", err, out)
		}
		theirs = append(theirs, of(c, started))
		_ = f.Close()
		packs, _ := filepath.Glob(filepath.Join(repository, "objects/pack/*"))
		for _, p := range packs {
			_ = os.Remove(p)
		}
	}
	median := func(all []figures, f func(figures) float64) float64 {
		v := make([]float64, len(all))
		for i := range all {
			v[i] = f(all[i])
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	for _, u := range []struct {
		unit string
		of   func(figures) float64
	}{{"cpu-s", func(f figures) float64 { return f.cpu }}, {"wall-s", func(f figures) float64 { return f.wall }}, {"rss-MB", func(f figures) float64 { return f.memory }}} {
		o, t := median(ours, u.of), median(theirs, u.of)
		b.ReportMetric(o, u.unit)
		b.ReportMetric(t, "git-"+u.unit)
		b.ReportMetric(o/t, u.unit+"-ratio")
	}
	b.ReportMetric(float64(anonymous>>20), "anonymous-MB")
	b.Logf("%d objects, %d MB", objects, info.Size()>>20)
}

// sourcesPack makes a pack of the sources of the modules in the cache, a commit for each.
func sourcesPack(b *testing.B) string {
	dir, cache := b.TempDir(), strings.TrimSpace(goEnv("GOMODCACHE"))
	git(b, dir, "", "init", "-q", "-b", "main")
	modules, _ := filepath.Glob(filepath.Join(cache, "*/*/*@v*"))
	more, _ := filepath.Glob(filepath.Join(cache, "*/*@v*"))
	slices.Sort(modules)
	total := int64(0)
	for i, m := range append(modules, more...) {
		if total > 900<<20 {
			break
		}
		name, _, _ := strings.Cut(filepath.Base(m), "@")
		to := filepath.Join(dir, name)
		_ = os.RemoveAll(to) // another version of the module
		_ = filepath.WalkDir(m, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || filepath.Ext(path) != ".go" {
				return nil
			}
			if c, err := os.ReadFile(path); err == nil {
				total += int64(len(c))
				rel, _ := filepath.Rel(m, path)
				write(b, filepath.Join(to, rel), string(c))
			}
			return nil
		})
		git(b, dir, "", "add", "-A")
		git(b, dir, "", "commit", "-q", "--allow-empty", "-m", fmt.Sprint(i))
	}
	git(b, dir, "", "-c", "pack.threads=1", "repack", "-q", "-adF", "--window=8")
	packs, _ := filepath.Glob(filepath.Join(dir, ".git/objects/pack/*.pack"))
	return packs[0]
}
