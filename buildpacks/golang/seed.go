package golang

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// stampFile says which seed a cache was made from.
const stampFile = "gitd-seed"

// seed makes the compiler's cache of the app hit for the standard library: its entries are copied from the builder's
// read-only cache, and what they point to is linked. That takes some 20 ms and no space, and the go command then works on a
// plain cache, without the detour of a cache program for each package. A missing seed is no error.
func seed(from, cache string) error {
	stamp, err := fingerprint(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	old := kit.Text(cache, stampFile)
	if old != stamp {
		if old != "" {
			if err := unlink(cache); err != nil {
				return err
			}
		}
		if err := link(from, cache); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(cache, stampFile), []byte(stamp+"\n"), 0o644); err != nil {
			return err
		}
	}
	return trim(cache)
}

// fingerprint tells seeds apart by a sample of their entries: names are digests of contents.
func fingerprint(dir string) (string, error) {
	parts := []string{dir}
	for _, sub := range []string{"00", "3f", "80", "c7", "ff"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			parts = append(parts, e.Name())
		}
	}
	return kit.Key(parts...), nil
}

// eachEntry calls f for the entries of a cache: 256 folders of files "<digest>-a" (small: what an action's output is) and
// "<digest>-d" (the output).
func eachEntry(cache string, f func(rel string, e fs.DirEntry) error) error {
	for i := range 256 {
		sub := fmt.Sprintf("%02x", i)
		entries, err := os.ReadDir(filepath.Join(cache, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f(filepath.Join(sub, e.Name()), e); err != nil {
				return err
			}
		}
	}
	return nil
}

func link(from, cache string) error {
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(cache, fmt.Sprintf("%02x", i)), 0o755); err != nil {
			return err
		}
	}
	return eachEntry(from, func(rel string, e fs.DirEntry) error {
		src, dst := filepath.Join(from, rel), filepath.Join(cache, rel)
		if kit.Exists(dst) {
			return nil
		}
		if strings.HasSuffix(rel, "-a") {
			return kit.CopyFile(src, dst)
		}
		return os.Symlink(src, dst)
	})
}

// unlink removes the links to an older builder's seed. Entries whose output is gone are misses, nothing worse.
func unlink(cache string) error {
	return eachEntry(cache, func(rel string, e fs.DirEntry) error {
		if e.Type()&fs.ModeSymlink != 0 {
			return os.Remove(filepath.Join(cache, rel))
		}
		return nil
	})
}

// The go command trims its cache once a day of what was not used for five days, and would take the linked seed, whose
// files are old, with it. So we do the trimming, of what the app itself put there, and say so in the file that it looks at.
const (
	trimEvery  = 24 * time.Hour
	trimUnused = 5 * 24 * time.Hour
)

func trim(cache string) error {
	file := filepath.Join(cache, "trim.txt")
	now := time.Now()
	due := true
	if sec, err := strconv.ParseInt(kit.Text(file), 10, 64); err == nil && now.Sub(time.Unix(sec, 0)) < trimEvery/2 {
		due = false
	}
	if !due {
		return nil
	}
	err := eachEntry(cache, func(rel string, e fs.DirEntry) error {
		fi, err := e.Info()
		if err == nil && fi.Mode().IsRegular() && now.Sub(fi.ModTime()) > trimUnused {
			if target := filepath.Join(cache, strings.TrimSuffix(rel, "-a")+"-d"); strings.HasSuffix(rel, "-a") && isLink(target) {
				return nil
			}
			return os.Remove(filepath.Join(cache, rel))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(file, fmt.Appendf(nil, "%d", now.Unix()), 0o644)
}

func isLink(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode()&fs.ModeSymlink != 0
}
