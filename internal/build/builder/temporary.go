package builder

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/sandbox"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func ensureLayers(ctx context.Context, dir string, img v1.Image) ([]string, error) {
	d, err := sandbox.OpenLayers(dir).Ensure(ctx, img)
	if err != nil || len(d) > 0 {
		return d, err
	}
	ls, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range ls {
		id, err := l.DiffID()
		if err != nil {
			return nil, err
		}
		p := filepath.Join("/tmp/bld/unp", id.Hex)
		if _, err := os.Stat(p); err != nil {
			os.MkdirAll(p+".t", 0o755)
			r, err := l.Compressed()
			if err != nil {
				return nil, err
			}
			c := exec.Command("tar", "--xattrs", "-xzf", "-", "-C", p+".t")
			c.Stdin = r
			c.Stderr = os.Stderr
			if err := c.Run(); err != nil {
				return nil, err
			}
			os.Rename(p+".t", p)
		}
		out = append(out, p)
	}
	return out, nil
}
