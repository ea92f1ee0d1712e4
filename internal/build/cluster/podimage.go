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

// podRepository is that of the image which has gitd-pod alone.
const podRepository = "gitd/pod"

// PublishPod puts the image with gitd-pod alone into the registry, and returns its reference there: it answers while an app is maintained, and brings
// the program into the pods of attached runs.
func PublishPod(ctx context.Context, to Publisher) (string, error) {
	img, err := Pod()
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return podRepository + "@" + digest.String(), to.AddImage(ctx, podRepository, digest.Hex[:12], img)
}

// Pod is the image: gitd-pod alone, as a user without rights. As it is, it answers every request with the page of maintenance.
func Pod() (v1.Image, error) {
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
	config.Config.Entrypoint, config.Config.Cmd = []string{wire.Program}, []string{wire.Page, ""}
	return mutate.ConfigFile(img, config)
}
