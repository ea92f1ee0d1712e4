package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/gitd-io/gitd/internal/app"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// metadataLabel is what makes an image a builder.
const metadataLabel = "io.buildpacks.builder.metadata"

// NameRunImage returns the builder image with another name for the run image that its apps stand on: where both go into a registry, it must be
// one that others can follow. It is in a label, for platforms, and in /cnb/run.toml and /cnb/stack.toml, for the lifecycle.
func NameRunImage(builder v1.Image, reference string) (v1.Image, error) {
	config, err := builder.ConfigFile()
	if err != nil {
		return nil, err
	}
	var metadata map[string]json.RawMessage
	if err := json.Unmarshal([]byte(config.Config.Labels[metadataLabel]), &metadata); err != nil {
		return nil, app.Errorf(app.InvalidInput, "name the image of a Cloud Native Buildpacks builder", "this is no builder: its label %s cannot be read: %w", metadataLabel, err)
	}
	type runImage struct {
		Image string `json:"image"`
	}
	if metadata["stack"], err = json.Marshal(map[string]any{"runImage": runImage{reference}}); err != nil {
		return nil, err
	}
	if metadata["images"], err = json.Marshal([]runImage{{reference}}); err != nil {
		return nil, err
	}
	label, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, f := range []struct{ name, text string }{
		{"cnb/run.toml", fmt.Sprintf("[[images]]\n  image = %q\n", reference)},
		{"cnb/stack.toml", fmt.Sprintf("[run-image]\n  image = %q\n", reference)},
	} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.text)), ModTime: made}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(builder, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: made}, CreatedBy: "gitd builder create"}})
	if err != nil {
		return nil, err
	}
	if config, err = img.ConfigFile(); err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Config.Labels[metadataLabel] = string(label)
	return mutate.ConfigFile(img, config)
}
