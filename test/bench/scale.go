package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/store/storetest"
)

// The section scale measures what a long history and many apps cost. Real are: the server, one app that was pushed and runs, all pushes that are
// measured. Made are: the ledger, as the first gitd would have written it, and for each of the other apps a copy of the real one's repository, of its
// folder in the registry, and of its Service, which is at zero. -bin measures another build on the same: that of an older commit, for one.

// seedApp is the real app. Its name stands nowhere in its files but as a name.
const seedApp = "zzseed"

// scaleSize is how much there is: running are those of the apps that have an instance all the time.
type scaleSize struct{ apps, releases, running int }

func (b *bench) scale() error {
	size := scaleSize{apps: 1000, releases: 200, running: 1}
	if b.quick {
		size = scaleSize{apps: 100, releases: 50, running: 1}
	}
	empty, err := b.measureEmpty()
	if err != nil {
		return err
	}
	s, src, err := b.seedServer("scale")
	if err != nil {
		return err
	}
	b.report.title(fmt.Sprintf("%d live apps × %d releases, one of them running, the others at zero", size.apps, size.releases))
	if err := b.growServer(s, src, size); err != nil {
		return err
	}
	if err := b.measureStart(s); err != nil {
		return err
	}
	if err := b.measureCommands(s); err != nil {
		return err
	}
	pushes, err := b.measurePushes(s, src)
	if err != nil {
		return err
	}
	b.report.ratio("a push to one app, live, against the server with one app and no history", pushes, empty.pushes, 1.10)
	b.report.memoryAtMost("memory of gitd and its proxy, a sleeping app", float64(s.memory()-empty.memory)/float64(size.apps-size.running), 0.2*(1<<20))
	return nil
}

// emptyServer is what a server with one app needs.
type emptyServer struct {
	pushes samples
	memory int64 // bytes, see server.memory
}

// measureEmpty measures a server of its own: what is pushed here would be in each copy of the app.
func (b *bench) measureEmpty() (e emptyServer, err error) {
	s, src, err := b.seedServer("empty")
	if err != nil {
		return e, err
	}
	defer s.process.stop(time.Minute)
	for n := range 1 + b.rounds(5, 3) {
		began := time.Now()
		if err := b.pushPage(s, src, seedApp, fmt.Sprint("empty ", n)); err != nil {
			return e, err
		}
		if n > 0 { // the image's cache is warm
			e.pushes.add(time.Since(began))
		}
		s.rest()
	}
	e.memory = s.memory()
	b.say("  a server with one app: a push %s, %d MB", seconds(e.pushes.median()), e.memory>>20)
	return e, nil
}

// measureCommands asks what people ask most.
func (b *bench) measureCommands(s *server) error {
	for _, args := range [][]string{{"apps"}, {"releases", seedApp}} {
		var cpus, walls samples
		for range b.rounds(5, 3) {
			cpu, wall, err := s.cost(func() error {
				_, err := b.command("", nil, append(append([]string{"ssh"}, s.sshTo()...), args...)...)
				return err
			})
			if err != nil {
				return err
			}
			cpus = append(cpus, cpu)
			walls.add(wall)
		}
		b.report.durationAtMost("gitd "+strings.Join(args, " ")+", over ssh", walls, 0.2)
		b.report.text("  CPU of the server", fmt.Sprintf("%.2f s", cpus.median()), "")
	}
	return nil
}

// seedServer starts a server of its own with the real app on it.
func (b *bench) seedServer(section string) (*server, *source, error) {
	shared := b.server
	b.server = nil
	keep := b.dir
	b.dir = filepath.Join(keep, section)
	defer func() { b.dir = keep }()
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, nil, err
	}
	s, err := b.useServer()
	if err != nil {
		b.server = shared
		return nil, nil, err
	}
	b.onExit(func() { b.server = shared })
	src := &source{dir: filepath.Join(b.dir, "source")}
	if err := os.MkdirAll(src.dir, 0o755); err != nil {
		return nil, nil, err
	}
	if err := src.write("project.toml", "[io.gitd.web]\nmin-scale = 1\nmax-scale = 1\n"); err != nil {
		return nil, nil, err
	}
	return s, src, b.pushPage(s, src, seedApp, "first")
}

// pushPage pushes a page to an app.
func (b *bench) pushPage(s *server, src *source, app, page string) error {
	if err := src.write("index.html", page+"\n"); err != nil {
		return err
	}
	if err := b.commit(src); err != nil {
		return err
	}
	_, _, err := s.push(app, src)
	return err
}

// growServer stops the server, and gives it the history and the other apps.
func (b *bench) growServer(s *server, src *source, size scaleSize) error {
	s.process.stop(time.Minute)
	commit, err := b.git(src, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	apps := []string{seedApp}
	for n := 1; n < size.apps; n++ {
		apps = append(apps, fmt.Sprintf("app-%05d", n))
	}
	b.say("  a ledger of %d releases", size.apps*size.releases)
	database := filepath.Join(s.data, "gitd.db")
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(database + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := storetest.Fill(b.ctx, database, storetest.Ledger{Apps: apps, Releases: size.releases, Owner: "bench", Commit: strings.TrimSpace(commit)}); err != nil {
		return err
	}
	b.say("  %d copies of the app", size.apps-1)
	for i, name := range apps[1:] {
		if err := copyApp(s.data, name, size.releases, i+1 < size.running); err != nil {
			return err
		}
	}
	public, err := os.ReadFile(s.key + ".pub")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.run(bytes.NewReader(public), "keys", "add", "bench", "--admin", "--data", s.data); err != nil {
		return err
	}
	b.report.text("first command on a ledger of the first schema", seconds(time.Since(began).Seconds()), "")
	info, err := os.Stat(database)
	if err != nil {
		return err
	}
	b.report.text("gitd.db", fmt.Sprintf("%d MB", info.Size()>>20), "")
	return nil
}

// copyApp gives an app what the real one has: its live revision is that of its newest release. Where it does not run, it is at zero.
func copyApp(data, name string, version int, running bool) error {
	for _, dir := range []string{"repositories/%s.git", "registry/docker/registry/v2/repositories/%s", "platform/services/%s"} {
		from, to := filepath.Join(data, fmt.Sprintf(dir, seedApp)), filepath.Join(data, fmt.Sprintf(dir, name))
		pairs := []string{seedApp + "-v1", fmt.Sprintf("%s-v%d", name, version), seedApp, name}
		if !running {
			pairs = append(pairs, `min-scale":"1"`, `min-scale":"0"`, `minScale":"1"`, `minScale":"0"`)
		}
		rename := strings.NewReplacer(pairs...)
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			target := filepath.Join(to, rename.Replace(rel))
			info, err := d.Info()
			switch {
			case err != nil:
				return err
			case d.IsDir():
				return os.MkdirAll(target, info.Mode().Perm())
			case !d.Type().IsRegular():
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.HasSuffix(path, ".json") {
				text = []byte(rename.Replace(string(text)))
			}
			return os.WriteFile(target, text, info.Mode().Perm())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// untilAnswered asks an app until it answers.
func (b *bench) untilAnswered(address, app string, longest time.Duration) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	for began := time.Now(); b.ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		q, err := http.NewRequestWithContext(b.ctx, http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			return err
		}
		q.Host = app + ".localhost"
		a, err := client.Do(q)
		if err == nil {
			a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(a.Status)
		}
		if time.Since(began) > longest {
			return fmt.Errorf("%s: no answer after %s: %w", app, longest, err)
		}
	}
	return b.ctx.Err()
}

// measureStart starts the server on what there is, as after a crash.
func (b *bench) measureStart(s *server) error {
	var answers, readies samples
	var cpu, peak float64
	for range b.rounds(3, 2) {
		if s.process != nil {
			s.process.kill()
		}
		ssh, web := s.SSH, s.HTTP
		began := time.Now()
		started := make(chan error, 1)
		go func() { started <- s.serve(ssh, web) }()
		if err := b.untilAnswered(web, seedApp, 5*time.Minute); err != nil {
			return err
		}
		answers.add(time.Since(began))
		if err := <-started; err != nil {
			return err
		}
		readies.add(time.Since(began))
		cpu, peak = s.used(), s.peak()
		b.say("  first answer after %s, ready after %s, %.2f s of CPU, %.0f MB at most", seconds(answers[len(answers)-1]), seconds(readies[len(readies)-1]), cpu, peak)
	}
	b.report.durationAtMost("start after kill -9: first answer of the running app", answers, 1)
	b.report.durationAtMost("start: ready for pushes", readies, 2)
	b.report.text("start: CPU, with all that it starts", fmt.Sprintf("%.2f s", cpu), "")
	b.report.text("start: memory at most", fmt.Sprintf("%.0f MB", peak), "")
	return nil
}

// measurePushes pushes to the real app, and right after that to another one. It returns how long those to the real app took.
func (b *bench) measurePushes(s *server, src *source) (alone samples, err error) {
	var cpus, receive, after, afterReceive samples
	if err := b.pushPage(s, src, seedApp, "warm"); err != nil { // the image's cache is warm from here on
		return alone, err
	}
	if err := b.pushPage(s, src, "app-00001", "warm too"); err != nil {
		return alone, err
	}
	s.rest()
	for n := range b.rounds(5, 2) {
		var wall, next time.Duration
		var first, second float64
		cpu, _, err := s.cost(func() error {
			began := time.Now()
			if err := b.pushPage(s, src, seedApp, fmt.Sprint("alone ", n)); err != nil {
				return err
			}
			wall = time.Since(began)
			t, err := s.lastTimings(seedApp)
			if err == nil {
				first = t.Receive
			}
			return err
		})
		if err != nil {
			return alone, err
		}
		alone.add(wall)
		cpus, receive = append(cpus, cpu), append(receive, first/1000)
		if err := b.pushPage(s, src, seedApp, fmt.Sprint("before ", n)); err != nil {
			return alone, err
		}
		began := time.Now()
		if err := b.pushPage(s, src, "app-00001", fmt.Sprint("after ", n)); err != nil {
			return alone, err
		}
		next = time.Since(began)
		t, err := s.lastTimings("app-00001")
		if err != nil {
			return alone, err
		}
		second = t.Receive
		after.add(next)
		afterReceive = append(afterReceive, second/1000)
		b.say("  a push %s, %.2f s of CPU with what follows; the push right after one %s, its build began after %s", seconds(wall.Seconds()), cpu, seconds(next.Seconds()), seconds(second/1000))
		s.rest()
	}
	b.report.duration("a push to one app, live", alone)
	b.report.text("  CPU of the server, with the collection after it", fmt.Sprintf("%.2f s", cpus.median()), "")
	b.report.duration("  until its build begins", receive)
	b.report.duration("a push to another app right after one, live", after)
	b.report.duration("  until its build begins", afterReceive)
	return alone, nil
}
