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
	return publish(ctx, to, podRepository, img)
}

// keeperRepository is that of the image of what keeps events.
const keeperRepository = "gitd/keeper"

// PublishKeeper puts the image of what keeps events into the registry, and returns its reference there.
func PublishKeeper(ctx context.Context, to Publisher) (string, error) {
	img, err := Keeper()
	if err != nil {
		return "", err
	}
	return publish(ctx, to, keeperRepository, img)
}

func publish(ctx context.Context, to Publisher, repository string, img v1.Image) (string, error) {
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return repository + "@" + digest.String(), to.AddImage(ctx, repository, digest.Hex[:12], img)
}

// Pod is the image: gitd-pod alone, as a user without rights. As it is, it answers every request with the page of maintenance.
func Pod() (v1.Image, error) {
	return program(parts.Pod, wire.Program, []string{wire.Program}, []string{wire.Page, ""})
}

// Keeper is gitd-keeper alone, as a user without rights.
func Keeper() (v1.Image, error) {
	return program(parts.Keeper, "/gitd-keeper", []string{"/gitd-keeper"}, nil)
}

// program is the image of one of the parts, at a path.
func program(part, at string, entrypoint, command []string) (v1.Image, error) {
	program, err := parts.Path(part)
	if err != nil {
		return nil, err
	}
	files, err := layer.InMemory(func(w *layer.Writer) error { return w.Program(at[1:], program) })
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
	config.Config.Entrypoint, config.Config.Cmd = entrypoint, command
	return mutate.ConfigFile(img, config)
}
