package debs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// A server prepares Debian packages for the builds of all its apps: what requests come to, and the packages, decompressed. Builds read this and cannot
// change it. What they ask for they note in the app's cache; after the build the server hands that to Prepare, which runs where nothing of an app runs,
// and checks what it fetches as a build does.

// shared is the folder that the server mounts, BP_SHARED_MOUNT; "" where it has none.
type shared string

const (
	requests       = "requests" // in the folder of an app's cache: a request a line
	prepared       = "packages" // in the shared folder: two files for each package
	preparedTree   = ".tar"
	preparedScript = ".postinst"
)

// Bounds of what is prepared.
const (
	maxRequests  = 16               // of a build
	refreshAge   = 24 * time.Hour   // after which a request is prepared again
	maxPrepared  = 2 << 30          // bytes; the packages that builds have not asked for in the longest time go first
	maxOfRequest = maxPrepared / 2  // bytes
	prepareTime  = 10 * time.Minute // for all requests of a build
)

// answer returns what a request came to; nil where that is not known, or too old.
func (s shared) answer(name string, fresh func(file string) bool) []Package {
	file := filepath.Join(string(s), answers, name)
	if s == "" || !fresh(file) {
		return nil
	}
	return readAnswer(file)
}

// packages returns the files of packages, if all of them are there.
func (s shared) packages(list []Package) (files []string, all bool) {
	for _, p := range list {
		base := filepath.Join(string(s), prepared, p.file())
		if s == "" || !kit.IsFile(base+preparedTree) || !kit.IsFile(base+preparedScript) {
			return nil, false
		}
		files = append(files, base+preparedTree)
	}
	return files, true
}

// openPrepared opens a package that is decompressed. base is the name of its files without their endings.
func openPrepared(base string) (a archive) {
	script, err := os.ReadFile(base + preparedScript)
	if err != nil {
		return archive{err: err}
	}
	a.script = string(script)
	a.tree, a.err = os.Open(base + preparedTree)
	return a
}

// note writes down a request, for the server.
func (t *Tool) note(request []byte) error {
	if t.shared == "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(t.dir, requests), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(request, '\n'))
	return errors.Join(err, f.Close())
}

// Prepare prepares the requests of a build, a JSON text a line, for the builds of all apps. dir is a folder of its own, dest the one that builds see as
// BP_SHARED_MOUNT. A request that cannot be had is told to out, and the others go on.
func Prepare(in io.Reader, dir, dest string, env kit.Env, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTime)
	defer cancel()
	for _, d := range []string{filepath.Join(dest, answers), filepath.Join(dest, prepared)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	t := &Tool{env: env, out: out, dir: dir, sys: System, now: time.Now}
	lines := json.NewDecoder(in)
	for range maxRequests {
		var r Request
		if err := lines.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("a request: %w", err)
		}
		if err := t.prepareShared(ctx, r, shared(dest)); err != nil {
			kit.Say(out, "%v: %s", r.Packages, kit.Line(err))
		}
	}
	return trim(filepath.Join(dest, prepared), maxPrepared)
}

// prepareShared prepares one request, unless that has been done lately.
func (t *Tool) prepareShared(ctx context.Context, r Request, dest shared) error {
	q, err := t.question(r)
	if err != nil || len(q.Packages) == 0 {
		return err
	}
	answer := filepath.Join(string(dest), answers, q.name)
	if set := (&Set{Packages: readAnswer(answer), request: q.Request}); set.Packages != nil && t.younger(answer, refreshAge) {
		if _, all := dest.packages(set.unpacked()); all {
			return nil
		}
	}
	a, err := t.prepare(q.Request, q.sources)
	if err == nil {
		err = a.update(!t.younger(a.mark(), refreshAge))
	}
	if err != nil {
		return err
	}
	set := &Set{request: q.Request}
	if set.Packages, err = a.simulate(); err != nil {
		return err
	}
	files, err := t.fetch(set)
	if err != nil {
		return err
	}
	size := int64(0)
	for i, p := range set.unpacked() {
		n, err := t.decompress(ctx, files[i], filepath.Join(string(dest), prepared, p.file()))
		if err != nil {
			return err
		}
		if size += n; size > maxOfRequest {
			return fmt.Errorf("the packages have more than %d bytes, and are left to the builds", int64(maxOfRequest))
		}
	}
	if err := trim(filepath.Join(t.dir, archives), maxArchives); err != nil {
		return err
	}
	return t.writeAnswer(answer, set.Packages)
}

// decompress makes the two files of a package, and returns how large they are. What is there already is made young.
func (t *Tool) decompress(ctx context.Context, deb, base string) (int64, error) {
	now := t.now()
	if info, err := os.Stat(base + preparedTree); err == nil && kit.IsFile(base+preparedScript) {
		return info.Size(), errors.Join(os.Chtimes(base+preparedTree, now, now), os.Chtimes(base+preparedScript, now, now))
	}
	text := script(ctx, t.env, deb)
	if err := os.WriteFile(base+preparedScript, []byte(text), 0o644); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(filepath.Dir(base), "new-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	err = errors.Join(dpkg(ctx, t.env, f, "--fsys-tarfile", deb), f.Chmod(0o644))
	info, serr := f.Stat()
	if err = errors.Join(err, serr, f.Close()); err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(f.Name(), base+preparedTree)
}
