package pack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/repository/pack/corpus"
)

// samePack takes a pack in, streamed, and compares the index and the objects with those that git index-pack finds in it. It
// returns how many objects the pack has.
func samePack(t *testing.T, pack io.Reader, o Options) int {
	t.Helper()
	dir := t.TempDir()
	o.Dir, o.NoSync = dir, true
	kept := sha1.New()
	res, err := Index(context.Background(), bufio.NewReaderSize(io.TeeReader(pack, kept), 64<<10), o)
	if id, ok := strings.CutPrefix(strings.TrimSuffix(fmt.Sprint(err), " is missing"), "the push is incomplete: blob "); ok && o.Repository != "" {
		if _, e := tryGit(o.Repository, "", "--git-dir=..", "-c", "extensions.partialClone=", "cat-file", "-e", id); e != nil {
			t.Skipf("the repository itself is incomplete: %v", err)
		}
	}
	if err != nil {
		t.Errorf("%v", err)
		return 0
	}
	file := filepath.Join(dir, res.Name+".pack")
	theirs := filepath.Join(dir, "theirs.idx")
	git(t, dir, "", "index-pack", "--no-rev-index", "-o", theirs, file)
	want, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, res.Name+".idx"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the index is not git's: %d and %d bytes; %v", len(got), len(want), err)
	}
	if res.Completed == 0 {
		b, err := os.ReadFile(file)
		if err != nil || sha1.Sum(b) != [20]byte(kept.Sum(nil)) {
			t.Error("the pack is not as it was sent", err)
		}
	}
	for _, f := range []string{file, theirs, filepath.Join(dir, res.Name+".idx")} {
		_ = os.Remove(f)
	}
	return res.Objects
}

// anyHistory lets histories pass that are long, or that old tools wrote.
func anyHistory(o Options) Options {
	o.Ignore = []string{"badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode"}
	o.Limits.Bytes, o.Limits.Inflated = 2<<30, 256<<30
	return o
}

// TestRealPacks takes in packs of real repositories as they were written by several versions of git: go-git's fixtures, which
// are in the module cache.
func TestRealPacks(t *testing.T) {
	data, err := corpus.Fixtures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(data, "pack-*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	archives, err := filepath.Glob(filepath.Join(data, "*.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, a := range archives {
		packs = append(packs, packsIn(t, a, dir)...)
	}
	if len(packs) < 35 {
		t.Fatalf("%d packs", len(packs))
	}
	// One of them is thin, and another one is a part of a history: what they build on is in the others.
	repository := filepath.Join(dir, "repository")
	git(t, dir, "", "init", "-q", "--bare", repository)
	thin := ""
	for _, p := range packs {
		to := filepath.Join(repository, "objects/pack", filepath.Base(p))
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := os.Symlink(p, to); err != nil {
			t.Fatal(err)
		}
		if out, err := tryGit(dir, "", "index-pack", to); err != nil {
			if !strings.Contains(out, "unresolved delta") || thin != "" {
				t.Fatal(out)
			}
			thin = p
			_ = os.Remove(to)
		}
	}
	for _, p := range packs {
		t.Run(filepath.Base(filepath.Dir(p))+"/"+filepath.Base(p), func(t *testing.T) {
			f, err := os.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			samePack(t, f, anyHistory(Options{Repository: filepath.Join(repository, "objects")}))
		})
	}
	if thin == "" {
		t.Error("none of the packs is thin")
	}
}

// packsIn takes the packs out of an archive of repositories.
func packsIn(t *testing.T, archive, dir string) (packs []string) {
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return packs
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(h.Name) != ".pack" {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(dir, strings.TrimSuffix(filepath.Base(archive), ".tgz"), filepath.Base(h.Name))
		write(t, p, string(b))
		packs = append(packs, p)
	}
}

// TestReleases takes in packs that git makes of the releases of 35 Go modules, each with other settings: about 140 packs. It
// needs the corpus, which takes minutes and the network the first time: only where GITD_CORPUS is set, as in CI.
func TestReleases(t *testing.T) {
	if os.Getenv("GITD_CORPUS") == "" {
		t.Skip("GITD_CORPUS is not set: no packs are made of releases")
	}
	repositories, err := corpus.Releases(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	packs, objects := 0, 0
	for i, r := range repositories {
		for k, s := range settings {
			if (i+k)%3 != 0 { // each repository with some of them
				continue
			}
			t.Run(filepath.Base(r)+"/"+s.name, func(t *testing.T) {
				objects += s.take(t, r)
				packs++
			})
		}
	}
	t.Logf("%d packs, %d objects", packs, objects)
}

// TestRepositories takes in what whole repositories have: bare ones, named by GITD_REPOSITORIES as a glob pattern. It is there to
// try real histories at hand.
func TestRepositories(t *testing.T) {
	pattern := os.Getenv("GITD_REPOSITORIES")
	if pattern == "" {
		t.Skip("GITD_REPOSITORIES is not set: no repositories at hand")
	}
	repositories, err := filepath.Glob(pattern)
	if err != nil || len(repositories) == 0 {
		t.Fatal(repositories, err)
	}
	packs, objects := 0, 0
	for i, r := range repositories {
		stored, err := filepath.Glob(filepath.Join(r, "objects/pack/*.pack"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range stored {
			t.Run(r, func(t *testing.T) {
				f, err := os.Open(p)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				objects += samePack(t, f, anyHistory(Options{Repository: filepath.Join(r, "objects")}))
				packs++
			})
		}
		if s := settings[i%len(settings)]; os.Getenv("GITD_REPACK") != "" {
			t.Run(r+"/"+s.name, func(t *testing.T) {
				objects += s.take(t, r)
				packs++
			})
		}
	}
	t.Logf("%d packs, %d objects", packs, objects)
}

// setting is a way to make a pack of a repository.
type setting struct {
	name    string
	config  []string
	args    []string
	revs    string // default: all
	thin    bool   // the repository is there already, in part
	options Options
}

var settings = []setting{
	{name: "as git pushes", args: []string{"--delta-base-offset", "--all"}},
	{name: "deltas by name, deep", args: []string{"--no-reuse-delta", "--all", "--window=20", "--depth=250"}},
	{name: "nothing used again, shallow deltas", args: []string{"--no-reuse-object", "--no-reuse-delta", "--delta-base-offset", "--all", "--window=3", "--depth=2", "--compression=1"}},
	{name: "stored", args: []string{"--no-reuse-object", "--delta-base-offset", "--all", "--compression=0"}},
	{name: "all files are big", config: []string{"core.bigFileThreshold=1k"}, args: []string{"--no-reuse-object", "--no-reuse-delta", "--delta-base-offset", "--all"}},
	{name: "little memory", args: []string{"--no-reuse-delta", "--delta-base-offset", "--all", "--window=8", "--depth=4095"}, options: Options{Workers: 3, Limits: Limits{Memory: 48 << 20}}},
	{name: "no deltas", args: []string{"--all", "--depth=0"}, options: Options{Workers: 1}},
	{name: "thin", args: []string{"--thin", "--delta-base-offset"}, revs: "HEAD\n^HEAD~1\n", thin: true},
	{name: "thin, deltas by name", args: []string{"--thin"}, revs: "HEAD\n^HEAD~3\n", thin: true},
}

// take makes such a pack and takes it in. It returns how many objects it has.
func (s setting) take(t *testing.T, repository string) int {
	args := []string{}
	for _, c := range s.config {
		args = append(args, "-c", c)
	}
	c := exec.Command("git", append(append(args, "-c", "pack.threads=1", "pack-objects", "--stdout", "-q", "--revs"), s.args...)...)
	c.Dir, c.Stdin = repository, strings.NewReader(s.revs)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	o := anyHistory(s.options)
	if s.options.Limits.Memory != 0 {
		o.Limits.Memory = s.options.Limits.Memory
	}
	if s.thin {
		o.Repository = filepath.Join(repository, "objects")
	}
	n := samePack(t, out, o)
	_, _ = io.Copy(io.Discard, out)
	if err := c.Wait(); err != nil {
		t.Fatalf("git pack-objects: %v %s", err, errs.String())
	}
	return n
}
