package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestIndexers: both indexers take the same packs, tell the same progress in counts, find what a thin pack builds on in an
// alternate, and leave nothing behind when they are cancelled on the way.
func TestIndexers(t *testing.T) {
	dir := t.TempDir()
	git := func(stdin string, args ...string) string {
		t.Helper()
		c := exec.Command("git", args...)
		c.Dir, c.Stdin = dir, strings.NewReader(stdin)
		c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		var errs bytes.Buffer
		c.Stderr = &errs
		out, err := c.Output()
		if err != nil {
			t.Fatalf("git %v: %v %s", args, err, errs.String())
		}
		return string(out) // as it is: a pack may end with a byte that looks like white space
	}
	git("", "init", "-q", "-b", "main")
	var commits []string
	for i := range 2 {
		for k := range 1500 {
			text := strings.Repeat("a line of text in this file\n", 20) + fmt.Sprint(k, i)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file", k)), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		git("", "add", "-A")
		git("", "commit", "-q", "-m", "change")
		commits = append(commits, strings.TrimSpace(git("", "rev-parse", "HEAD")))
	}
	whole := git(commits[1]+"\n", "pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset")
	thin := git(commits[1]+"\n^"+commits[0]+"\n", "pack-objects", "--revs", "--stdout", "-q", "--thin")
	here, there := t.TempDir(), t.TempDir()
	git("", "init", "-q", "--bare", here)
	git("", "init", "-q", "--bare", there)
	git("", "push", "-q", there, commits[0]+":refs/heads/main")

	limits := PackLimits{Bytes: 1 << 30, Objects: 1 << 20, Memory: 1 << 30, CPU: time.Minute}
	for name, x := range map[string]Indexer{"gitd": NewPackIndexer(), "git": NewGitIndexer()} {
		index := func(ctx context.Context, pack string, progress Progress) (PackStats, string, error) {
			q := t.TempDir()
			if err := os.Mkdir(filepath.Join(q, "pack"), 0o755); err != nil {
				t.Fatal(err)
			}
			// The line stays open, as a client's does.
			r, w := io.Pipe()
			go func() { _, _ = io.WriteString(w, pack) }()
			defer w.Close()
			stats, err := x.Index(ctx, r, PackTarget{Repository: here, Quarantine: q}, limits, progress)
			return stats, q, err
		}
		t.Run(name, func(t *testing.T) {
			told := map[string][2]int{}
			stats, _, err := index(t.Context(), whole, func(phase string, done, of int) { told[phase] = [2]int{done, of} })
			if err != nil || stats.Objects != 3004 || stats.Bytes < int64(len(whole)) {
				t.Fatal(stats, err)
			}
			if stats.Connected != (name == "gitd") {
				t.Errorf("%+v", stats)
			}
			first := map[string]string{"gitd": "Indexing objects", "git": "Receiving objects"}[name]
			if deltas := told["Resolving deltas"]; told[first] != [2]int{3004, 3004} || deltas[0] == 0 || deltas[0] != deltas[1] {
				t.Errorf("%v", told)
			}
			if _, _, err := index(t.Context(), thin, nil); !errors.Is(err, ErrIncomplete) {
				t.Errorf("without what it builds on: %v", err)
			}
			alternates := filepath.Join(here, "objects/info/alternates")
			if err := os.WriteFile(alternates, []byte(there+"/objects\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(alternates)
			if stats, _, err := index(t.Context(), thin, nil); err != nil || stats.Connected {
				t.Errorf("with an alternate: %+v %v", stats, err)
			}
			for _, phase := range []string{first, "Resolving deltas"} {
				ctx, cancel := context.WithCancelCause(context.Background())
				why := errors.New("cancelled on the way")
				_, q, err := index(ctx, whole, func(p string, done, of int) {
					if p == phase {
						cancel(why)
						<-ctx.Done()
					}
				})
				cancel(nil)
				if !errors.Is(err, why) {
					t.Errorf("%s: %v", phase, err)
				}
				if name == "git" { // its folder goes as a whole
					continue
				}
				_ = filepath.WalkDir(q, func(path string, e fs.DirEntry, err error) error {
					if err != nil || !e.IsDir() {
						t.Errorf("%s: left behind: %s %v", phase, path, err)
					}
					return nil
				})
			}
		})
	}
}
