package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

// prepare takes the source while it analyzes the image before and restores what that build left.
func prepare(job wire.Job) error {
	began := time.Now()
	if err := os.Mkdir(filepath.Join(wire.Platform, "env"), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	restored := make(chan error, 1)
	err := receive(os.Stdin, volumes, func() {
		began = time.Now() // gitd may have had to prepare the source
		go func() { restored <- analyze(job) }()
	})
	if err != nil {
		return fail("source", "%v", err)
	}
	say(wire.Event{Source: &wire.Done{Milliseconds: time.Since(began).Milliseconds()}})
	if err := <-restored; err != nil {
		return err
	}
	say(wire.Event{Analyzed: &wire.Done{Milliseconds: time.Since(began).Milliseconds()}})
	return nil
}

func analyze(job wire.Job) error {
	if err := prepareCache(&job); err != nil {
		return fail("restore", "%v", err)
	}
	auth, err := credentials(false)
	if err != nil {
		return fail("analyze", "%v", err)
	}
	args := []string{"-run-image", job.RunImage}
	if job.Previous != "" {
		args = append(args, "-previous-image", job.Previous)
	}
	if err := run("analyze", job, auth, "analyzer", append(args, job.Output)...); err != nil {
		return err
	}
	if job.Clear {
		job.Cache = ""
	}
	auth = plainCache(&job, auth, net.LookupIP)
	group, err := previousGroup()
	if err != nil {
		return fail("analyze", "%v", err)
	}
	if group != "" {
		if err := run("restore", job, auth, "restorer", append(cacheArguments(job), "-group", group)...); err != nil {
			return err
		}
	}
	if err := keepAnalyzed(wire.Layers, wire.Credentials); err != nil {
		return fail("analyze", "%v", err)
	}
	return nil
}

// analyzedFile is what the analysis found: the images that the exporter pulls, with credentials.
const analyzedFile = "analyzed.toml"

// keepAnalyzed copies it to where the container that runs the app's code cannot write.
func keepAnalyzed(from, to string) error {
	b, err := os.ReadFile(filepath.Join(from, analyzedFile))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, analyzedFile), b, 0o644)
}

func cacheArguments(job wire.Job) []string {
	switch {
	case job.CacheDir != "":
		return []string{"-cache-dir", job.CacheDir}
	case job.Cache != "":
		return []string{"-cache-image", job.Cache}
	}
	return nil
}

// previousGroup writes a group of the buildpacks that made the image before, as far as the builder still has them, and returns the
// file; "" if there are none. The lifecycle restores after detection; we do it before, which saves two containers. A buildpack that is
// not detected now gets nothing or ignores it.
func previousGroup() (string, error) {
	var analyzed struct {
		Metadata struct {
			Buildpacks []struct {
				Key     string `toml:"key"`
				Version string `toml:"version"`
			} `toml:"buildpacks"`
		} `toml:"metadata"`
	}
	if _, err := toml.DecodeFile(filepath.Join(wire.Layers, analyzedFile), &analyzed); err != nil {
		return "", err
	}
	type element struct {
		ID      string `toml:"id"`
		Version string `toml:"version"`
		API     string `toml:"api"`
	}
	var group struct {
		Group []element `toml:"group"`
	}
	for _, b := range analyzed.Metadata.Buildpacks {
		if api := buildpackAPI(b.Key, b.Version); api != "" {
			group.Group = append(group.Group, element{b.Key, b.Version, api})
		}
	}
	if len(group.Group) == 0 {
		return "", nil
	}
	f, err := os.CreateTemp("", "group-*.toml")
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(toml.NewEncoder(f).Encode(group), f.Close())
}

// buildpackAPI returns the API version that a buildpack of the builder was written for; "" where the builder does not have it.
func buildpackAPI(id, version string) string {
	var d struct {
		API string `toml:"api"`
	}
	id, version = strings.ReplaceAll(id, "/", "_"), filepath.Base(version)
	if _, err := toml.DecodeFile(filepath.Join("/cnb/buildpacks", id, version, "buildpack.toml"), &d); err != nil {
		return ""
	}
	return d.API
}
