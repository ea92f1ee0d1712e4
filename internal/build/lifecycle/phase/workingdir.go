package phase

import (
	"bytes"
	"os"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/bound"
	"github.com/gitd-io/gitd/internal/disk"
)

// metadata is where the builder writes the process types, in the layers directory.
const metadata = "config/metadata.toml"

var maxMetadata = bound.TOMLLimits{Size: 4 << 20, Depth: 64, Path: 4096}

// SetWorkingDir has the processes of a build, which do not say where they start, start in a folder. The build's programs may have written
// anything in the place of the file that is changed.
func SetWorkingDir(layers, dir string) error {
	text, err := disk.ReadInside(layers, metadata, int64(maxMetadata.Size))
	if err == nil {
		err = bound.TOML(text, maxMetadata)
	}
	var m map[string]any
	if err == nil {
		err = toml.Unmarshal(text, &m)
	}
	if err != nil {
		return err
	}
	all, _ := m["processes"].([]map[string]any)
	for _, p := range all {
		if at, _ := p["working-dir"].(string); at == "" {
			p["working-dir"] = dir
		}
	}
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(m); err != nil {
		return err
	}
	root, err := os.OpenRoot(layers)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(metadata); err != nil {
		return err
	}
	return root.WriteFile(metadata, b.Bytes(), 0o644)
}
