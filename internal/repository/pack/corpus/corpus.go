// Package corpus makes git repositories with real contents, for tests and benchmarks; nothing of gitd itself uses it.
//
// What it makes is honest about what it is: the files are those of released versions of real Go modules, so that git finds the
// deltas between them that it finds between commits of real projects. The histories are not the projects': one commit is one
// release, or a made-up edit (Large). Everything is kept in a cache folder and made once.
package corpus

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

//go:embed modules.txt
var modules string

// Dir returns the cache folder, which GITD_CORPUS_DIR names or which is in the user's cache folder.
func Dir() (string, error) {
	if dir := os.Getenv("GITD_CORPUS_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "gitd-corpus-1"), err
}

// Fixtures returns the folder with the packs of real repositories that go-git tests itself with, 29 of them. They come as a Go
// module of 98 MB.
func Fixtures(ctx context.Context) (string, error) {
	m, err := download(ctx, "github.com/go-git/go-git-fixtures/v4@v4.3.2-0.20231010084843-55a94097c399")
	if err != nil {
		return "", err
	}
	return filepath.Join(m[0].Dir, "data"), nil
}

// Releases returns a bare repository for each of 35 Go modules: one commit for each of some releases, packed by git.
func Releases(ctx context.Context, say func(format string, args ...any)) (repositories []string, err error) {
	for line := range strings.Lines(modules) {
		f := strings.Fields(line)
		r, err := cached(ctx, strings.ReplaceAll(f[0], "/", "_"), say, func(i *importer) error { return i.releases(ctx, f[0], f[1:], "") })
		if err != nil {
			return nil, fmt.Errorf("corpus: %s: %w", f[0], err)
		}
		repositories = append(repositories, r)
	}
	return repositories, nil
}

// Medium returns a bare repository of 10 to 50 MB: releases of the modules that have most of the files, each in its own folder.
func Medium(ctx context.Context, say func(format string, args ...any)) (repository string, err error) {
	return cached(ctx, "medium", say, func(i *importer) error {
		for line := range strings.Lines(modules) {
			f := strings.Fields(line)
			switch f[0] {
			case "google.golang.org/grpc", "golang.org/x/tools", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/crypto",
				"github.com/mattn/go-sqlite3", "github.com/go-git/go-git/v5", "google.golang.org/protobuf":
				if err := i.releases(ctx, f[0], f[1:], path.Base(f[0])+"/"); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// cached returns the repository of a name, which fill makes if there is none.
func cached(ctx context.Context, name string, say func(string, ...any), fill func(*importer) error) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	repository := filepath.Join(dir, name+".git")
	if _, err := os.Stat(repository); err == nil {
		return repository, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	say("making %s, once", repository)
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := git(ctx, tmp, nil, "init", "-q", "--bare", "-b", "main"); err != nil {
		return "", err
	}
	if err := importTo(ctx, tmp, fill); err != nil {
		return "", err
	}
	if err := git(ctx, tmp, nil, "-c", "pack.windowMemory=256m", "repack", "-q", "-adf", "--window=5", "--depth=50"); err != nil {
		return "", err
	}
	err = os.Rename(tmp, repository)
	if _, e := os.Stat(repository); e == nil { // another process may have been faster
		err = nil
	}
	return repository, err
}

// git runs git in a repository, niced, without the configuration of the user or the machine.
func git(ctx context.Context, dir string, stdin io.Reader, args ...string) error {
	c := exec.CommandContext(ctx, "nice", append([]string{"-n", "19", "git"}, args...)...)
	c.Dir, c.Stdin = dir, stdin
	c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// module is what go mod download says of a version.
type module struct {
	Path, Version, Error, Zip, Dir string
}

func download(ctx context.Context, versions ...string) (found []module, err error) {
	c := exec.CommandContext(ctx, "go", append([]string{"mod", "download", "-json"}, versions...)...)
	c.Dir = os.TempDir() // in no module of its own
	c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, runErr := c.Output()
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m module
		if err := d.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go mod download: %w", err)
		}
		if m.Error != "" {
			return nil, errors.New(m.Error)
		}
		found = append(found, m)
	}
	if runErr == nil && len(found) != len(versions) {
		runErr = errors.New("not all of them came")
	}
	if runErr != nil {
		return nil, fmt.Errorf("go mod download %s: %w %s", strings.Join(versions, " "), runErr, errs.String())
	}
	return found, nil
}

// importer writes commits for git fast-import(1) to refs/heads/main.
type importer struct {
	w       *bufio.Writer
	commits int
	objects int // written; those that were there before count again
}

// importTo runs git fast-import.
func importTo(ctx context.Context, repository string, fill func(*importer) error) error {
	r, w := io.Pipe()
	defer r.Close()
	filled := make(chan error, 1)
	go func() {
		i := &importer{w: bufio.NewWriterSize(w, 1<<20)}
		err := fill(i)
		if err == nil {
			err = i.w.Flush()
		}
		_ = w.CloseWithError(err)
		filled <- err
	}()
	err := git(ctx, repository, r, "fast-import", "--quiet")
	_ = r.Close()
	return errors.Join(<-filled, err)
}

func (i *importer) commit(message string) {
	i.commits++
	fmt.Fprintf(i.w, "commit refs/heads/main\ncommitter Corpus <corpus@example.com> %d +0000\ndata %d\n%s\n", 1_500_000_000+i.commits*600, len(message), message)
}

func (i *importer) file(name string, content []byte) {
	fmt.Fprintf(i.w, "M 100644 inline %s\ndata %d\n", name, len(content))
	_, _ = i.w.Write(content)
	_ = i.w.WriteByte('\n')
}

// releases writes a commit for each version of a module, below prefix.
func (i *importer) releases(ctx context.Context, name string, versions []string, prefix string) error {
	for k, v := range versions {
		versions[k] = name + "@" + v
	}
	found, err := download(ctx, versions...)
	if err != nil {
		return err
	}
	for _, m := range found {
		i.commit(m.Path + " " + m.Version)
		if prefix == "" {
			fmt.Fprintln(i.w, "deleteall")
		} else {
			fmt.Fprintln(i.w, "D", strings.TrimSuffix(prefix, "/"))
		}
		if err := eachFile(m.Zip, func(name string, content []byte) { i.file(prefix+name, content) }); err != nil {
			return err
		}
	}
	return nil
}

// eachFile reads the files of a module's zip, without those that git itself would read.
func eachFile(file string, use func(name string, content []byte)) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		_, at, _ := strings.Cut(f.Name, "@")
		_, name, ok := strings.Cut(at, "/")
		if !ok || strings.Contains("/"+name, "/.git") || strings.ContainsAny(name, "\"\n\\") || f.UncompressedSize64 > 64<<20 {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil {
			return fmt.Errorf("%s in %s: %w", f.Name, file, err)
		}
		use(name, b)
	}
	return nil
}
