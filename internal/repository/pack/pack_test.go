package pack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// git runs git in a folder, without the configuration of the user or the machine.
func git(t testing.TB, dir, stdin string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, stdin, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryGit(dir, stdin string, args ...string) (string, error) {
	c := exec.Command("git", args...)
	c.Dir = dir
	c.Stdin = strings.NewReader(stdin)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
		"GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000"}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String() + errs.String(), err
	}
	return strings.TrimSpace(out.String()), nil
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

var history struct {
	sync.Once
	dir string
}

// repository returns one that all tests share; they do not change it.
func repository(t testing.TB) string {
	t.Helper()
	history.Do(func() {
		dir, err := os.MkdirTemp("", "gitd-pack-test-")
		if err != nil {
			t.Fatal(err)
		}
		newRepository(t, dir, 50)
		history.dir = dir
	})
	if history.dir == "" {
		t.Fatal("the repository could not be made")
	}
	return history.dir
}

// newRepository makes a repository with a history of every kind of object: a few merges, tags, links, executables, changing
// and moving text, and a large binary that changes a little.
func newRepository(t testing.TB, dir string, commits int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	git(t, dir, "", "init", "-q", "-b", "main")
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = byte(r.Uint32() & r.Uint32()) // few bits: it compresses, but not to nothing
	}
	// The module cache has real text in plenty; take this package's own files if there is none.
	sources, _ := filepath.Glob("*.go")
	more, _ := filepath.Glob(filepath.Join(strings.TrimSpace(goEnv("GOMODCACHE")), "golang.org/x/*/*/*.go"))
	sources = append(sources, more[:min(len(more), 60)]...)
	for i := range commits {
		for k := range 1 + r.IntN(5) {
			b, err := os.ReadFile(sources[r.IntN(len(sources))])
			if err != nil {
				t.Fatal(err)
			}
			at := r.IntN(len(b))
			write(t, filepath.Join(dir, fmt.Sprintf("d%d/e%d/f%d.go", k%3, i%4, r.IntN(30))), string(b[:at])+fmt.Sprint(i)+string(b[at:]))
		}
		log, _ := os.ReadFile(filepath.Join(dir, "LOG"))
		write(t, filepath.Join(dir, "LOG"), fmt.Sprintf("%d: %x\n%s", i, r.Uint64(), log))
		if i%10 == 3 {
			large[r.IntN(len(large))] ^= 1
			write(t, filepath.Join(dir, "large"), string(large))
		}
		if i == 2 {
			write(t, filepath.Join(dir, ".gitmodules"), "[submodule \"lib\"]\n\tpath = lib\n\turl = https://example.com/lib.git\n")
			write(t, filepath.Join(dir, ".gitattributes"), "*.go text\n")
			write(t, filepath.Join(dir, "run"), "#!/bin/sh\n")
			_ = os.Chmod(filepath.Join(dir, "run"), 0o755)
			_ = os.Symlink("d0/e0", filepath.Join(dir, "link"))
		}
		if i%12 == 5 {
			git(t, dir, "", "checkout", "-q", "-b", fmt.Sprintf("side%d", i))
			write(t, filepath.Join(dir, fmt.Sprintf("side%d", i)), fmt.Sprint(i))
			git(t, dir, "", "add", fmt.Sprintf("side%d", i))
			git(t, dir, "", "commit", "-qm", "side")
			git(t, dir, "", "checkout", "-q", "main")
		}
		git(t, dir, "", "add", "-A")
		git(t, dir, "", "commit", "-q", "--allow-empty", "-m", fmt.Sprintf("commit %d", i))
		if i%12 == 8 && i > 5 {
			git(t, dir, "", "merge", "-q", "-m", "merge", fmt.Sprintf("side%d", i-3))
			git(t, dir, "", "tag", "-a", "-m", "tagged", fmt.Sprintf("v%d", i))
		}
	}
}

func goEnv(name string) string {
	b, _ := exec.Command("go", "env", name).Output()
	return string(b)
}

// take indexes a pack into a new folder; what follows the pack must stay in the reader.
func take(t testing.TB, pack []byte, o Options) (*Result, string, error) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	res, dir, err := takeInto(t, pack, o)
	if left, _ := os.ReadDir(o.Dir); err != nil && len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return res, dir, err
}

// takeInto does so into a folder that has other files already.
func takeInto(t testing.TB, pack []byte, o Options) (*Result, string, error) {
	t.Helper()
	const after = "what follows"
	in := bufio.NewReaderSize(&slowReader{data: append(bytes.Clone(pack), after...)}, 16<<10)
	res, err := Index(context.Background(), in, o)
	if err == nil {
		rest, _ := io.ReadAll(in)
		if string(rest) != after {
			t.Errorf("%d bytes are left in the reader, not %d", len(rest), len(after))
		}
	}
	return res, o.Dir, err
}

// slowReader returns its data in pieces of different sizes.
type slowReader struct {
	data []byte
	n    int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	r.n++
	n := min(len(p), len(r.data), 1+r.n*7919%20000)
	copy(p, r.data[:n])
	r.data = r.data[n:]
	return n, nil
}

// sameIndex compares with what git makes of the pack that we wrote.
func sameIndex(t testing.TB, dir string, res *Result) {
	t.Helper()
	theirs := filepath.Join(t.TempDir(), "theirs.idx")
	git(t, dir, "", "index-pack", "-o", theirs, "--no-rev-index", filepath.Join(dir, res.Name+".pack"))
	want, _ := os.ReadFile(theirs)
	got, err := os.ReadFile(filepath.Join(dir, res.Name+".idx"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the index is not git's (%d and %d bytes; %v)", len(got), len(want), err)
	}
}

func TestIndex(t *testing.T) {
	dir := repository(t)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"as git pushes", []string{"--delta-base-offset"}},
		{"deltas by name", nil},
		{"no deltas", []string{"--depth=0"}},
		{"deep", []string{"--delta-base-offset", "--window=50", "--depth=4000"}},
		{"stored", []string{"--delta-base-offset", "--compression=0"}},
	} {
		pack := packObjects(t, dir, "", append([]string{"--all", "--no-reuse-delta", "--no-reuse-object"}, c.args...)...)
		for _, workers := range []int{1, 3} {
			for _, memory := range []int64{0, 5 << 20} { // little memory: contents are given back and made again
				t.Run(fmt.Sprintf("%s/%d/%d", c.name, workers, memory), func(t *testing.T) {
					told := map[string]int{}
					res, in, err := take(t, pack, Options{Workers: workers, Limits: Limits{Memory: memory},
						Progress: func(phase string, done, of int) { told[phase] = done * 100 / of }})
					if err != nil {
						t.Fatal(err)
					}
					if res.Bytes != int64(len(pack)) || told["Indexing objects"] != 100 || c.name != "no deltas" && told["Resolving deltas"] != 100 {
						t.Errorf("%+v of %d bytes, progress up to %v", res, len(pack), told)
					}
					kept, _ := os.ReadFile(filepath.Join(in, res.Name+".pack"))
					if !bytes.Equal(kept, pack) {
						t.Error("the pack is not as it was sent")
					}
					sameIndex(t, in, res)
				})
			}
		}
	}
}

func packObjects(t testing.TB, dir string, revs string, args ...string) []byte {
	t.Helper()
	c := exec.Command("git", append([]string{"pack-objects", "--stdout", "-q", "--revs"}, args...)...)
	c.Dir, c.Stdin = dir, strings.NewReader(revs)
	var errs bytes.Buffer
	c.Stderr = &errs
	b, err := c.Output()
	if err != nil {
		t.Fatalf("git pack-objects: %v %s", err, errs.String())
	}
	return b
}

// codeOf fails unless err is made for people.
func codeOf(t testing.TB, err error) app.Code {
	t.Helper()
	var e *app.Error
	if !errors.As(err, &e) {
		t.Errorf("not made for people: %v", err)
	}
	return app.CodeOf(err)
}
