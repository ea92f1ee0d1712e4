// Package phase is what the lifecycle's phases read and write. It needs little, for programs that have to stay small.
package phase

import (
	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/bound"
	"github.com/gitd-io/gitd/internal/disk"
)

// Proxies are the variables that lead out of a network. The lifecycle passes them on from its own environment.
var Proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}

// Group is what the detector wrote to group.toml: the buildpacks and image extensions that take part.
type Group struct {
	Buildpacks []Buildpack `json:"buildpacks" toml:"group"`
	Extensions []Buildpack `json:"extensions" toml:"group-extensions"`
}

// Buildpack is one of a Group.
type Buildpack struct {
	ID      string `json:"id" toml:"id"`
	Version string `json:"version" toml:"version"`
}

// maxGroup is far more than a group needs.
var maxGroup = bound.TOMLLimits{Size: 256 << 10, Depth: 16, Path: 1024}

// ReadGroup reads the group from a build's layers directory. The build's programs may have written anything in its place.
func ReadGroup(layers string) (Group, error) {
	var g Group
	text, err := disk.ReadInside(layers, "group.toml", int64(maxGroup.Size))
	if err == nil {
		err = bound.TOML(text, maxGroup)
	}
	if err == nil {
		err = toml.Unmarshal(text, &g)
	}
	return g, err
}
