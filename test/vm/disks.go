package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/build/builder/cache"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// goTests are packages whose own tests are run on the machine as well.
var goTests = []string{"internal/sandbox"}

// programs makes the disk with what comes from this project: gitd and its parts, the page's unit files, the apps to push, tests.
func (w *workshop) programs(ctx context.Context) (string, error) {
	work, err := os.MkdirTemp(w.dir, "programs-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	for _, c := range [][]string{
		{"mkdir", "-p", work + "/gitd", work + "/units", work + "/tests"},
		{"cp", "bin/gitd", work + "/gitd/"},
		{"cp", "-r", "bin/parts", work + "/gitd/parts"},
		{"cp", "-r", "test/vm/testdata/apps", work + "/apps"},
	} {
		if err := command(ctx, c[0], c[1:]...); err != nil {
			return "", err
		}
	}
	for name, text := range w.page.units {
		if err := os.WriteFile(filepath.Join(work, "units", name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	if err := goBuild(ctx, "build", "-o", work+"/guest", "./test/vm/guest"); err != nil {
		return "", err
	}
	for _, p := range goTests {
		to := filepath.Join(work, "tests", p)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		if err := goBuild(ctx, "test", "-c", "-o", to+"/test", "./"+p); err != nil {
			return "", err
		}
		if err := goBuild(ctx, "build", "-o", to+"/probe", "./"+p+"/testdata/probe"); err != nil {
			return "", err
		}
	}
	disk := filepath.Join(w.dir, "programs")
	return disk, fileSystem(ctx, work, disk, "")
}

func goBuild(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "go", args...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// builders makes the disk with the builder image, made natively by gitd in this machine's own cache: under emulation it takes an hour.
func (w *workshop) builders(ctx context.Context) (string, error) {
	c := exec.CommandContext(ctx, "bin/gitd", "builder", "create")
	parts, err := filepath.Abs("bin/parts")
	if err != nil {
		return "", err
	}
	c.Env = append(os.Environ(), "GITD_PARTS="+parts)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, os.Stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("gitd builder create: %w\n%s", err, said.String())
	}
	_, hex, ok := strings.Cut(said.String(), "Builder image sha256:")
	if !ok || len(hex) < 64 {
		return "", fmt.Errorf("gitd builder create does not name the image: %s", said.String())
	}
	disk := filepath.Join(w.dir, "builders-"+hex[:16])
	if _, err := os.Stat(disk); err == nil {
		return disk, nil
	}
	say("Making the disk with the builder image")
	if err := w.forget("", "builders-"); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(w.dir, "work-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if err := copyBuilder(ctx, filepath.Join(cache, "gitd"), work, hex[:16]); err != nil {
		return "", err
	}
	if err := fileSystem(ctx, work, disk+".new", ""); err != nil {
		return "", err
	}
	return disk, os.Rename(disk+".new", disk)
}

// copyBuilder copies one builder of a cache, with its layers: the rest is of other versions.
func copyBuilder(ctx context.Context, cache, to, hex string) error {
	found, _ := filepath.Glob(filepath.Join(cache, "builder", "*-"+hex))
	if len(found) != 1 {
		return fmt.Errorf("%s has %d builders %s", cache, len(found), hex)
	}
	name := filepath.Base(found[0])
	layers, err := layersOf(found[0])
	if err != nil {
		return err
	}
	for _, d := range []string{"builder", "layers", "run"} {
		if err := os.MkdirAll(filepath.Join(to, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(to, "layers"), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(name, filepath.Join(to, "builder", strings.TrimSuffix(name, "-"+hex))); err != nil {
		return err
	}
	if err := command(ctx, "cp", "-a", found[0], filepath.Join(to, "builder", name)); err != nil {
		return err
	}
	for _, l := range layers {
		for _, kind := range []string{"layers", "run"} {
			from := filepath.Join(cache, kind, l)
			if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
				continue // the run image's layers alone are marked; gitd unpacks what is missing
			}
			if err := command(ctx, "cp", "-a", from, filepath.Join(to, kind, l)); err != nil {
				return err
			}
		}
	}
	return nil
}

// layersOf returns the diff IDs, in hex, of all images of an OCI layout.
func layersOf(dir string) ([]string, error) {
	images, err := cache.NamedImages(dir)
	if err != nil {
		return nil, err
	}
	seen := map[v1.Hash]bool{}
	var all []string
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		for _, id := range config.RootFS.DiffIDs {
			if !seen[id] {
				seen[id] = true
				all = append(all, id.Hex)
			}
		}
	}
	return all, nil
}
