package builder

import (
	"context"
	"encoding/json"

	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Find is Ensure for builds elsewhere: nothing is unpacked here, so Layers and Shared stay empty.
func Find(ctx context.Context, o Options) (*Builder, error) {
	img, run, err := Images(ctx, o)
	if err != nil {
		return nil, err
	}
	return describe(o.Ref, img, run)
}

// describe checks that an image can be a builder, and reads what it says of itself.
func describe(ref string, img, run v1.Image) (*Builder, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	b := &Builder{Ref: ref, Digest: digest.String(), Image: img, RunImage: run, Env: config.Config.Env}
	if b.UID, err = userID(config.Config.Env, "CNB_USER_ID"); err != nil {
		return nil, notABuilder(ref, err.Error())
	}
	if b.GID, err = userID(config.Config.Env, "CNB_GROUP_ID"); err != nil {
		return nil, notABuilder(ref, err.Error())
	}
	b.Buildpacks = buildpacks(config)
	return b, nil
}

// buildpacks are those that a builder has; none where its label does not say.
func buildpacks(config *v1.ConfigFile) []build.Buildpack {
	var metadata struct {
		Buildpacks []struct{ ID, Version string } `json:"buildpacks"`
	}
	if json.Unmarshal([]byte(config.Config.Labels[cache.MetadataLabel]), &metadata) != nil {
		return nil
	}
	var all []build.Buildpack
	for _, p := range metadata.Buildpacks {
		all = append(all, build.Buildpack(p))
	}
	return all
}
