package helper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/buildpacks/imgutil"
	"github.com/buildpacks/imgutil/remote"
	"github.com/buildpacks/lifecycle/launch"
	"github.com/buildpacks/lifecycle/layers"
	"github.com/buildpacks/lifecycle/phase"
	"github.com/buildpacks/lifecycle/platform"
	"github.com/buildpacks/lifecycle/platform/files"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitd-io/gitd/internal/app"
	described "github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/function"
)

// export writes the image. The same build makes the same image, bit for bit: no time and no address of the registry is in it.
func (h *helper) export() error {
	group, err := files.Handler.ReadGroup(filepath.Join(wire.Layers, "group.toml"))
	if err != nil {
		return err
	}
	metadata, err := h.metadata()
	if err != nil {
		return err
	}
	ahead := h.ahead()
	if ahead.err != nil {
		return ahead.err
	}
	img := &onceCompressed{Image: ahead.image, helper: h}
	exporter := &phase.Exporter{
		Buildpacks:   group.Group,
		Logger:       h.logger,
		PlatformAPI:  h.api,
		LayerFactory: ahead.layers,
	}
	report, err := exporter.Export(phase.ExportOptions{
		AppDir:       wire.Workspace,
		LayersDir:    wire.Layers,
		ExecEnv:      h.job.ExecEnv,
		OrigMetadata: h.analyzed.LayersMetadata,
		LauncherConfig: phase.LauncherConfig{
			Path:     platform.DefaultLauncherPath,
			SBOMDir:  platform.DefaultBuildpacksioSBOMDir,
			Metadata: files.LauncherMetadata{Version: h.job.Launcher},
		},
		RunImageRef:       h.job.RunName + "@" + h.job.RunImage,
		RunImageForExport: files.RunImageForExport{Image: h.job.RunName},
		WorkingImage:      img,
	})
	if err != nil {
		return err
	}
	if err := h.keep(group.Group, img); err != nil {
		return fmt.Errorf("keep cached layers: %w", err)
	}
	done := &wire.Exported{Digest: report.Image.Digest, Reused: img.reused, Added: img.added, AddedBytes: img.addedBytes}
	for _, p := range metadata.Processes {
		done.Processes = append(done.Processes, app.Process{
			Type: p.Type, Command: p.Command.Entries, Args: p.Args, Default: p.Type == metadata.BuildpackDefaultProcessType,
		})
	}
	done.Function = functionLabel(metadata)
	h.say(wire.Reply{Done: done})
	return nil
}

// ahead is what of the export does not depend on the build: it is done beside it.
type ahead struct {
	image  *remote.Image
	layers *layers.Factory // that has the launcher's layer already
	err    error
}

// exportAhead opens the images, and makes the layer of the launcher.
func (h *helper) exportAhead() (a ahead) {
	options := []imgutil.ImageOption{remote.FromBaseImage(h.runImage()), remote.WithHistory()}
	if ref := h.analyzed.PreviousImageRef(); ref != "" {
		options = append(options, remote.WithPreviousImage(ref))
	}
	if a.image, a.err = remote.NewImage(h.output(), h.keychain, options...); a.err != nil {
		return a
	}
	artifacts := filepath.Join("/tmp", wire.Tars)
	if a.err = os.Mkdir(artifacts, 0o700); a.err != nil {
		return a
	}
	a.layers = &layers.Factory{ArtifactsDir: artifacts, UID: h.job.UID, GID: h.job.GID, Logger: h.logger}
	_, a.err = a.layers.LauncherLayer(platform.DefaultLauncherPath) // the factory keeps it for the export
	return a
}

// functionLabel is what the build says of the function that the image serves; "" for none.
func functionLabel(m *files.BuildMetadata) string {
	for _, l := range m.Labels {
		if l.Key == function.Label {
			return l.Value[:min(len(l.Value), maxLabel)]
		}
	}
	return ""
}

// maxLabel bounds what is told of a label, which a build wrote: above what is taken.
const maxLabel = 8 << 10

// metadata is what the build says of the image. The processes of an app in a folder of its source start there.
func (h *helper) metadata() (*files.BuildMetadata, error) {
	if h.job.AppDir != "" {
		if err := described.SetWorkingDir(wire.Layers, path.Join(wire.Workspace, h.job.AppDir)); err != nil {
			return nil, fmt.Errorf("set the folder in which processes start: %w", err)
		}
	}
	return files.Handler.ReadBuildMetadata(launch.GetMetadataFilePath(wire.Layers), h.api)
}

// onceCompressed is an image whose new layers are compressed once and handed to the registry's store as files; the stock
// image compresses them twice, for the digest and for the wire.
type onceCompressed struct {
	*remote.Image
	helper        *helper
	reused, added int
	addedBytes    int64
}

// ReuseLayerWithHistory counts.
func (i *onceCompressed) ReuseLayerWithHistory(diffID string, history v1.History) error {
	i.reused++
	return i.Image.ReuseLayerWithHistory(diffID, history)
}

// AddLayerWithDiffIDAndHistory compresses the tar file at path into a blob of the registry and refers to that.
func (i *onceCompressed) AddLayerWithDiffIDAndHistory(path, diffID string, history v1.History) error {
	hash, err := v1.NewHash(diffID)
	if err != nil {
		return err
	}
	i.helper.say(wire.Reply{Layer: &wire.Layer{DiffID: diffID, File: filepath.Base(path)}})
	digest, size, err := i.helper.compress(path)
	if err != nil {
		return err
	}
	i.added++
	i.addedBytes += size
	l := &placedLayer{digest: v1.Hash{Algorithm: "sha256", Hex: digest}, diffID: hash, size: size}
	history.Created = v1.Time{Time: imgutil.NormalizedDateTime}
	i.CNBImageCore.Image, err = mutate.Append(i.CNBImageCore.Image, mutate.Addendum{Layer: l, History: history, MediaType: types.OCILayer})
	return err
}

// SaveAs hands the image to the registry's store as well: its layers are there. A push would ask for each of them. One with a very large description is
// pushed.
func (i *onceCompressed) SaveAs(name string, additional ...string) error {
	if err := i.SetCreatedAtAndHistory(); err != nil {
		return err
	}
	config, err := i.CNBImageCore.RawConfigFile()
	if err != nil {
		return err
	}
	manifest, err := i.CNBImageCore.RawManifest()
	if err != nil {
		return err
	}
	if len(additional) > 0 || len(manifest)+len(config) > wire.MaxImage {
		return i.Image.SaveAs(name, additional...)
	}
	i.helper.say(wire.Reply{Image: &wire.Described{Manifest: manifest, Config: config}})
	return i.helper.expect(wire.CommandPlaced)
}

// placedLayer is a layer whose blob is in the registry already.
type placedLayer struct {
	digest, diffID v1.Hash
	size           int64
}

var errPlaced = errors.New("the layer is in the registry already")

func (l *placedLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *placedLayer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l *placedLayer) Size() (int64, error)                 { return l.size, nil }
func (l *placedLayer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (l *placedLayer) Compressed() (io.ReadCloser, error)   { return nil, errPlaced }
func (l *placedLayer) Uncompressed() (io.ReadCloser, error) { return nil, errPlaced }
