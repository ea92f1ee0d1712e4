package cluster

import (
	"encoding/json"
	"fmt"
	"path"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/function"
)

// finish reads the image that was pushed, and tells of it.
func (b *running) finish(e *wire.Exported) error {
	r := &b.Result
	r.Digest = e.Digest
	r.Times.Export = time.Duration(e.Milliseconds) * time.Millisecond
	if err := b.o.Images.Pushed(b.Request.App, e.Digest); err != nil {
		return app.Errorf(app.CodeExportFailed, pushAgain, "export failed: %w", err)
	}
	img, err := b.o.Images.Image(b.Request.App, e.Digest)
	if err == nil {
		err = b.read(img)
	}
	if err != nil {
		return app.Errorf(app.CodeExportFailed, "push again; where it fails again, ask the operator whether gitd and the Pods mean the same registry",
			"export failed: the image cannot be read back from the registry: %w", err)
	}
	return b.Exported()
}

// buildMetadata is the label io.buildpacks.build.metadata, as far as we need it.
type buildMetadata struct {
	Processes []struct {
		Type    string          `json:"type"`
		Command json.RawMessage `json:"command"` // a list, or one string with older buildpacks
		Args    []string        `json:"args"`
	} `json:"processes"`
}

// layersMetadata is the label io.buildpacks.lifecycle.metadata, as far as we need it.
type layersMetadata struct {
	RunImage struct {
		TopLayer string `json:"topLayer"`
	} `json:"runImage"`
}

// read takes from an image what its processes are, and which of its layers the one before has too.
func (b *running) read(img v1.Image) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	b.Result.Processes, err = processes(config)
	if err != nil {
		return err
	}
	if err := b.Labelled(config.Config.Labels[function.Label]); err != nil {
		return err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	before := map[v1.Hash]bool{}
	if b.before != "" {
		if old, err := b.o.Images.Image(b.Request.App, b.before); err == nil {
			if m, err := old.Manifest(); err == nil {
				for _, l := range m.Layers {
					before[l.Digest] = true
				}
			}
		}
	}
	var run layersMetadata
	_ = json.Unmarshal([]byte(config.Config.Labels["io.buildpacks.lifecycle.metadata"]), &run)
	own := false // above the run image
	for i, l := range manifest.Layers {
		if own && before[l.Digest] {
			b.Result.LayersReused++
		} else if own {
			b.Result.LayersAdded++
			b.Result.AddedBytes += l.Size
		}
		if i < len(config.RootFS.DiffIDs) && config.RootFS.DiffIDs[i].String() == run.RunImage.TopLayer {
			own = true
		}
	}
	return nil
}

// processes reads an image's process types.
func processes(config *v1.ConfigFile) ([]app.Process, error) {
	var m buildMetadata
	if err := json.Unmarshal([]byte(config.Config.Labels["io.buildpacks.build.metadata"]), &m); err != nil {
		return nil, fmt.Errorf("its label of the build's metadata: %w", err)
	}
	standard := ""
	if len(config.Config.Entrypoint) == 1 && path.Dir(config.Config.Entrypoint[0]) == "/cnb/process" {
		standard = path.Base(config.Config.Entrypoint[0])
	}
	var all []app.Process
	for _, p := range m.Processes {
		var command []string
		if err := json.Unmarshal(p.Command, &command); err != nil {
			var one string
			if err := json.Unmarshal(p.Command, &one); err != nil {
				return nil, fmt.Errorf("the command of its process %s: %w", p.Type, err)
			}
			command = []string{one}
		}
		all = append(all, app.Process{Type: p.Type, Command: command, Args: p.Args, Default: p.Type == standard})
	}
	return all, nil
}
