package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/sandbox"
	"github.com/gitd-io/gitd/internal/tail"
)

const (
	sharedDir = "shared" // in the engine's directory

	// requestsFile is where, in an app's cache, gitd's buildpacks note the Debian packages that they asked for.
	requestsFile = "debs/requests"
	maxRequests  = 16 << 10 // bytes of it

	sharedTime = 15 * time.Minute // for what one build asked for
)

// shared is what is prepared for the builds of all apps: Debian packages, so that the first push of an app need not fetch and decompress what the app
// before it had. Builds see it read-only. It is filled in a container in which nothing of an app runs: of an app comes only the list of packages that
// its last successful build asked for, which gitd's own buildpacks check as they check it in a build. One list is worked on at a time, in the background.
type shared struct {
	engine *Engine
	all    string // what builds see
	own    string // what only the container that fills it sees
	owner  int    // user and group ID of that container
	asked  chan []byte
	stop   context.CancelFunc
	worker sync.WaitGroup
	busy   sync.WaitGroup // lists that are taken and not worked on yet
}

// openShared starts sharing, where the builder image has gitd's own buildpacks.
func (e *Engine) openShared() error {
	info, err := top(e.opts.Builder.Layers, strings.TrimPrefix(catalog.Program, "/"))
	if err != nil || info == nil || !info.Mode().IsRegular() {
		return err
	}
	dir := filepath.Join(e.opts.Dir, sharedDir)
	s := &shared{engine: e, all: filepath.Join(dir, "all"), own: filepath.Join(dir, "own"), asked: make(chan []byte, 8)}
	s.owner = int(e.opts.Host.UID(0, "gitd "+sharedDir))
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	for _, d := range []string{s.all, s.own} {
		if err := ownedDir(d, s.owner, 0o755); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop, e.shared = stop, s
	s.worker.Go(func() { s.work(ctx) })
	return nil
}

// close ends what is under way.
func (s *shared) close() {
	s.stop()
	s.worker.Wait()
}

// forgetRequests removes the list of an earlier build. The folder is a stranger's.
func forgetRequests(cache string) {
	if root, err := os.OpenRoot(cache); err == nil {
		_ = root.Remove(requestsFile) // where it stays it is an old list, or none: take looks
		root.Close()
	}
}

// take takes the list of a build that ended well. Where many wait it is left out: the next build brings it again.
func (s *shared) take(cache string) {
	list, err := disk.ReadInside(cache, requestsFile, maxRequests)
	if err != nil || len(list) == 0 {
		return // most builds need no packages
	}
	s.busy.Add(1)
	select {
	case s.asked <- list:
	default:
		s.busy.Done()
	}
}

func (s *shared) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case list := <-s.asked:
			if err := s.prepare(ctx, list); err != nil && ctx.Err() == nil {
				s.engine.opts.Log("build: packages for all apps: %v", err)
			}
			s.busy.Done()
		}
	}
}

// prepare runs the container.
func (s *shared) prepare(ctx context.Context, list []byte) error {
	e := s.engine
	if free, err := e.free(e.opts.Dir); err != nil || free.Short(e.minFree()) != "" {
		return err // nothing more goes onto a disk that is nearly full
	}
	dir := filepath.Dir(s.all)
	e.settler.Unsettle(dir)
	defer e.settler.Settle(dir)
	work := filepath.Join(dir, "work")
	e.discard(work) // of a server that was killed
	if err := os.Mkdir(work, 0o711); err != nil {
		return err
	}
	defer e.discard(work)
	tmp, requests := filepath.Join(work, "tmp"), filepath.Join(work, "requests")
	if err := ownedDir(tmp, s.owner, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(requests, list, 0o644); err != nil {
		return err
	}
	spec, err := s.container(requests, tmp)
	if err != nil {
		return err
	}
	var said tail.Tail
	spec.Output = &said
	inner, cancel := context.WithTimeout(ctx, sharedTime)
	defer cancel()
	exit, err := e.opts.Host.Run(inner, spec)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("exit status %d: %s", exit.Code, lifecycle.Clip(said.String()))
	}
	return err
}

// container is the one that prepares a list.
func (s *shared) container(requests, tmp string) (sandbox.Spec, error) {
	random, err := lifecycle.RandomHex(4)
	if err != nil {
		return sandbox.Spec{}, err
	}
	spec, env, err := s.engine.builderContainer("shared-"+random, s.owner, build.Limits{}.WithDefaults(), []sandbox.Mount{
		{Source: requests, Target: "/gitd-requests", ReadOnly: true}, {Source: s.own, Target: cacheMount}, {Source: s.all, Target: sharedMount}, {Source: tmp, Target: "/tmp"}})
	spec.Labels = map[string]string{"kind": "build"}
	spec.Args = []string{catalog.Program, "prepare", "/gitd-requests", cacheMount, sharedMount}
	for name, value := range env {
		spec.Env = append(spec.Env, name+"="+value)
	}
	return spec, err
}
