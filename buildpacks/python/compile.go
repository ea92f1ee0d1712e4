package python

import (
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// shares is how many parts the compiling of packages is divided into. It is fixed: what a process has compiled before decides on some bytes of
// what it compiles next, and layers must be the same on machines with other numbers of processors.
const shares = 4

// compilePackages compiles what is installed.
func (b *build) compilePackages() {
	b.compileFolders(glob(b.venv.Path, "lib/python*/site-packages")...)
}

// compileFolders compiles what is in folders, several entries at a time.
func (b *build) compileFolders(folders ...string) {
	var dirs []string
	for _, f := range folders {
		dirs = append(dirs, glob(f, "*")...)
	}
	slices.Sort(dirs)
	parts := make([][]string, shares)
	for i, size := 0, make([]int, shares); i < len(dirs); i++ {
		n := countSources(dirs[i])
		if n == 0 {
			continue
		}
		least := slices.Index(size, slices.Min(size))
		parts[least], size[least] = append(parts[least], dirs[i]), size[least]+n
	}
	var wg sync.WaitGroup
	running := make(chan struct{}, min(shares, runtime.NumCPU()))
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		wg.Go(func() {
			running <- struct{}{}
			b.compile(part...)
			<-running
		})
	}
	wg.Wait()
}

// countSources counts the Python files at a path.
func countSources(path string) (n int) {
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".py") {
			n++
		}
		return nil
	})
	return n
}

// compile makes byte code that is not checked against the source's date: the files of an image all have one date, so that
// code of the usual kind would be compiled again at each start. It is the same for the same source, and so are the layers.
func (b *build) compile(paths ...string) {
	argv := append([]string{b.exe, "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-x", `/(node_modules|\.git|tests?/data|lib2to3/tests)/`}, paths...)
	env := b.env.Clone()
	delete(env, "PYTHONDONTWRITEBYTECODE")
	// Some packages ship files that are templates or for other versions: they do not compile, and need not.
	_, _ = kit.Cmd{Args: argv, Env: env, Out: nothing{}}.Run()
}

// littleCode is how much source, in bytes, Python compiles at a start in less than a tenth of the time that a process takes which compiles it before.
const littleCode = 16 << 10

// compileApp compiles the app itself, unless that is little: a push waits for it.
func (b *build) compileApp() {
	if sourceSize(b.app, littleCode) > littleCode {
		b.compile(b.app)
	}
}

// sourceSize adds up the Python files at a path, until they are more than enough.
func sourceSize(path string, enough int64) (size int64) {
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".py") {
			if fi, err := d.Info(); err == nil {
				size += fi.Size()
			}
		}
		if size > enough {
			return fs.SkipAll
		}
		return nil
	})
	return size
}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
