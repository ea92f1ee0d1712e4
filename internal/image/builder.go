package image

import (
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/layer"
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
		return nil, app.Errorf(app.CodeInvalidInput, "name the image of a Cloud Native Buildpacks builder", "this is not a builder: its label %s cannot be read: %w", metadataLabel, err)
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
	files, err := layer.InMemory(func(w *layer.Writer) error {
		return errors.Join(w.Bytes("cnb/run.toml", 0o644, fmt.Appendf(nil, "[[images]]\n  image = %q\n", reference)),
			w.Bytes("cnb/stack.toml", 0o644, fmt.Appendf(nil, "[run-image]\n  image = %q\n", reference)))
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(builder, mutate.Addendum{Layer: files, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: layer.Made}, CreatedBy: "gitd builder create"}})
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
