package helper

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/buildpacks/lifecycle/buildpack"
	"github.com/buildpacks/lifecycle/launch"
	"github.com/buildpacks/lifecycle/platform"
	"github.com/buildpacks/lifecycle/platform/files"

	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/disk"
)

// Layers that a buildpack marks with cache=true are kept as they are, by renaming them out of the build and, before the next
// one, into it. The lifecycle's own cache packs them into tar files and unpacks them, which takes longer than many a build.
// A build that fails loses them: what it may have done to them is unknown.

// kept is a cached layer outside of a build; its directory is kept/BUILDPACK/NAME.
type kept struct {
	ID, Version, API string // of the buildpack
	Name             string
	SHA              string // of the layer in the image, for a layer that is in the image too
	Metadata         buildpack.LayerMetadataFile
}

func keptIndex() string { return filepath.Join(wire.App, wire.Kept, "index.json") }

// keep moves the cached layers out of a build that was exported.
func (h *helper) keep(group []buildpack.GroupElement, img *onceCompressed) error {
	var meta files.LayersMetadata
	if label, err := img.Label(platform.LifecycleMetadataLabel); err != nil {
		return err
	} else if err := json.Unmarshal([]byte(label), &meta); err != nil {
		return err
	}
	var all []kept
	for _, bp := range group {
		dir, err := buildpack.ReadLayersDir(wire.Layers, bp, h.logger)
		if err != nil {
			return err
		}
		for _, l := range dir.FindLayers(buildpack.MadeCached) {
			m, err := l.Read()
			if err != nil || !l.HasLocalContents() {
				continue
			}
			from := filepath.Join(wire.App, h.job.Build, "layers", launch.EscapeID(bp.ID), l.Name())
			to := filepath.Join(wire.App, wire.Kept, launch.EscapeID(bp.ID), l.Name())
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := errors.Join(disk.RemoveAll(to), os.Rename(from, to)); err != nil {
				return err
			}
			all = append(all, kept{bp.ID, bp.Version, bp.API, l.Name(), meta.LayersMetadataFor(bp.ID).Layers[l.Name()].SHA, m.LayerMetadataFile})
		}
	}
	if len(all) == 0 {
		return nil
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(keptIndex(), b, 0o644)
}

// restoreKept moves the kept layers into the build and writes their metadata, without the types, as the buildpack
// specification wants it.
func (h *helper) restoreKept() error {
	b, err := os.ReadFile(keptIndex())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(keptIndex()); err != nil {
		return err
	}
	var all []kept
	if json.Unmarshal(b, &all) != nil {
		return nil
	}
	for _, k := range all {
		if api, ok := buildpackAPI(k.ID, k.Version); !ok || api != k.API || k.Name != filepath.Base(k.Name) {
			continue
		}
		if k.Metadata.Launch {
			inImage, ok := h.analyzed.LayersMetadata.LayersMetadataFor(k.ID).Layers[k.Name]
			if ok && inImage.SHA != k.SHA {
				continue
			}
		}
		dir, err := buildpack.ReadLayersDir(wire.Layers, buildpack.GroupElement{ID: k.ID, Version: k.Version, API: k.API}, h.logger)
		if err != nil {
			return err
		}
		from := filepath.Join(wire.App, wire.Kept, launch.EscapeID(k.ID), k.Name)
		to := filepath.Join(wire.App, h.job.Build, "layers", launch.EscapeID(k.ID), k.Name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			continue // gone: the buildpack makes it again
		}
		if err := dir.NewLayer(k.Name, k.API, h.logger).WriteMetadata(k.Metadata); err != nil {
			return err
		}
	}
	return nil
}
