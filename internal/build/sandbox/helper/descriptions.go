package helper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/bound"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
)

// What a build may write to describe itself and its layers: far more than any buildpack does. The lifecycle's parser would take gigabytes and
// minutes for some texts of a few kilobytes.
var maxDescription = bound.TOMLLimits{Size: wire.MaxDescription, Depth: 64, Path: 4096}

// checkDescriptions refuses TOML files in a directory of layers that are beyond these bounds, before the lifecycle reads them: its own, and those of the buildpacks,
// one level down.
func checkDescriptions(layers string) error {
	for _, pattern := range []string{"*.toml", "*/*.toml"} {
		files, err := filepath.Glob(filepath.Join(layers, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := checkDescription(f); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
		}
	}
	return nil
}

func checkDescription(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // no waiting on a pipe
	if os.IsNotExist(err) {
		return nil // a link to nowhere: the lifecycle does not find it either
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errors.New("it is not a file")
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(maxDescription.Size)+1))
	if err != nil {
		return err
	}
	return bound.TOML(text, maxDescription)
}
