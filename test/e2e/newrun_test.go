package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/deploy/contract"
)

// cmdNewRun writes a builder to a folder: newrun DIR [DISTRIBUTION]. It is the present one, with a run image that has a file more, /etc/patched, and of
// another distribution, if one is named.
func cmdNewRun(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 && len(args) != 2 {
		ts.Fatalf("usage: newrun DIR [DISTRIBUTION]")
	}
	ts.Check(os.Setenv("GITD_PARTS", partsDir)) // the present builder is known by what is in it
	img, run, err := builder.Images(context.Background(), builder.Options{Log: app.NewLog(io.Discard)})
	ts.Check(err)
	patch, err := contract.ImageOf(w.tb, v1.Config{}, contract.File{Name: "etc/", Mode: 0o755}, contract.File{Name: "etc/patched", Mode: 0o644, Data: []byte("yes\n")}).Layers()
	ts.Check(err)
	newer, err := mutate.AppendLayers(run, patch...)
	ts.Check(err)
	if len(args) == 2 {
		c, err := newer.ConfigFile()
		ts.Check(err)
		c = c.DeepCopy()
		c.Config.Labels["io.buildpacks.base.distro.name"] = args[1]
		newer, err = mutate.ConfigFile(newer, c)
		ts.Check(err)
	}
	dir := ts.MkAbs(args[0])
	ts.Check(writeLayout(dir, map[string]v1.Image{"builder": img, "run": newer}))
	return output{}, nil
}

// writeLayout is layout.Write for images whose layers are files: those are linked, not copied.
func writeLayout(dir string, images map[string]v1.Image) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, "application/vnd.oci.image.index.v1+json")
	for name, img := range images {
		layers, err := img.Layers()
		if err != nil {
			return err
		}
		for _, l := range layers {
			digest, err := l.Digest()
			if err != nil {
				return err
			}
			content, err := l.Compressed()
			if err != nil {
				return err
			}
			if f, ok := content.(*os.File); ok {
				_ = os.Symlink(f.Name(), filepath.Join(blobs, digest.Hex))
			}
			content.Close()
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Annotations: map[string]string{"org.opencontainers.image.ref.name": name}}})
	}
	_, err := layout.Write(dir, index)
	if err != nil {
		return fmt.Errorf("write the layout: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil || !json.Valid(b) {
		return fmt.Errorf("the layout has no index: %w", err)
	}
	return nil
}
