package cluster

import (
	"context"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/layer"
	"github.com/gitd-io/gitd/internal/parts"
)

// pageRepository is that of the image which answers while an app is maintained.
const pageRepository = "gitd/page"

// PublishPage puts the image that answers every request with the page of maintenance into the registry, and returns its reference there.
func PublishPage(ctx context.Context, to Publisher) (string, error) {
	img, err := Page()
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return pageRepository + "@" + digest.String(), to.AddImage(ctx, pageRepository, digest.Hex[:12], img)
}

// Page is the image: gitd-pod alone, as a user without rights.
func Page() (v1.Image, error) {
	program, err := parts.Path(parts.Pod)
	if err != nil {
		return nil, err
	}
	files, err := layer.InMemory(func(w *layer.Writer) error { return w.Program(wire.Program[1:], program) })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, files)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.User = "65532:65532"
	config.Config.Entrypoint = []string{wire.Program, wire.Page, ""}
	return mutate.ConfigFile(img, config)
}
