package main

import (
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

// prepareCache makes the directories of the app's volume, where it has one. What others than the build's user own is of an earlier
// builder image: the lifecycle and the buildpacks meet it as they would any broken cache.
func prepareCache(job *wire.Job) error {
	if job.CacheDir == "" {
		return nil
	}
	if job.Clear {
		if err := clearCache(); err != nil {
			return err
		}
	}
	for _, dir := range []string{job.CacheDir, filepath.Join(wire.Cache, "build")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// clearCache removes what is on the volume.
func clearCache() error {
	entries, err := os.ReadDir(wire.Cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lost+found" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(wire.Cache, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
