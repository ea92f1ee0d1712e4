// Package rebase puts an app's image on another run image without a build, by the rules of the CNB lifecycle. The lifecycle is in gitd-helper: it is
// given descriptions and returns one; the layers stay where they are.
package rebase

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/tail"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Bounds of one rebase.
const (
	limit     = time.Minute
	maxAnswer = 16 << 20 // bytes
	nobody    = 65534    // user and group ID of the helper
)

// MetadataLabel of an image says which run image it stands on.
const MetadataLabel = "io.buildpacks.lifecycle.metadata"

// Base is a run image and where it is.
type Base struct {
	Repository, Digest string
	Image              v1.Image
}

// Standing returns the digest of the run image that an app's image stands on; "" where buildpacks did not make it, or it does not say.
func Standing(img v1.Image) (string, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	var m struct {
		RunImage struct {
			Reference string `json:"reference"`
		} `json:"runImage"`
	}
	if json.Unmarshal([]byte(config.Config.Labels[MetadataLabel]), &m) != nil {
		return "", nil
	}
	_, digest, _ := strings.Cut(m.RunImage.Reference, "@")
	return digest, nil
}

// Onto returns img on the run image. An image that cannot stand on it is refused with an *app.Error (InvalidInput) that says why.
func Onto(ctx context.Context, img v1.Image, base Base) (v1.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	job := wire.Job{Owner: nobody, Rebase: &wire.Rebase{RunName: base.Repository, RunDigest: base.Digest}}
	var err error
	if job.Rebase.App, err = describe(img); err != nil {
		return nil, err
	}
	if job.Rebase.Run, err = describe(base.Image); err != nil {
		return nil, err
	}
	if job.Rebase.Root, err = os.MkdirTemp("", "gitd-rebase-"); err != nil {
		return nil, err
	}
	defer os.Remove(job.Rebase.Root)
	reply, err := ask(ctx, job)
	if err != nil {
		return nil, err
	}
	if reply.Failed != nil {
		return nil, refused(reply.Failed.Message)
	}
	return compose(*reply.Rebased, img, base.Image)
}

func describe(img v1.Image) (d wire.Described, err error) {
	if d.Manifest, err = img.RawManifest(); err != nil {
		return d, err
	}
	d.Config, err = img.RawConfigFile()
	return d, err
}

// ask runs the helper once.
func ask(ctx context.Context, job wire.Job) (*wire.Reply, error) {
	program, err := parts.Path(parts.Helper)
	if err != nil {
		return nil, err
	}
	question, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, program)
	c.Env = parts.Env("GOMEMLIMIT=200000000")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	}
	in, err := c.StdinPipe() // open until it has answered: its end ends the helper
	if err != nil {
		return nil, err
	}
	answer, said := &bounded{}, &tail.Tail{}
	c.Stdout, c.Stderr = answer, said
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, sent := in.Write(append(question, '\n'))
	ended := c.Wait()
	in.Close()
	var reply wire.Reply
	err = json.Unmarshal(answer.Bytes(), &reply)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil || reply.Rebased == nil && reply.Failed == nil:
		return nil, fmt.Errorf("the rebase helper ended early: %w: %s", errors.Join(sent, ended, err), said.String())
	}
	return &reply, nil
}

// bounded keeps what the helper answers.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxAnswer {
		return 0, errors.New("the answer is too long")
	}
	return b.Buffer.Write(p)
}

// refused says in people's words why the lifecycle does not rebase an image.
func refused(why string) error {
	const next = "push the app: it is built on the new run image then"
	switch {
	case strings.Contains(why, "not marked as rebasable"):
		return app.Errorf(app.CodeInvalidInput, next, "the image cannot be rebased: its build has extended the run image (io.buildpacks.rebasable is false)")
	case strings.Contains(why, "unable to satisfy target"):
		return app.Errorf(app.CodeInvalidInput, next, "the run image does not fit: it is %s, and the app was built on %s", target(why, "new run image: "), target(why, "old run image: "))
	case strings.Contains(why, "stack"), strings.Contains(why, "mixin"):
		return app.Errorf(app.CodeInvalidInput, next, "the run image does not fit: %s", app.Line(why, 300))
	}
	return app.Errorf(app.CodeInvalidInput, next, "the image cannot be rebased: %s", app.Line(why, 300))
}

// target says what a run image is for, as it stands behind a label in what the lifecycle says: "debian 13 for linux/amd64".
func target(why, label string) string {
	var t struct {
		OS, Arch, Variant string
		Distro            struct{ Name, Version string }
	}
	_, text, _ := strings.Cut(why, label)
	if json.NewDecoder(strings.NewReader(text)).Decode(&t) != nil {
		return "another one"
	}
	distro := cmp.Or(t.Distro.Name, "no distribution that it names")
	if t.Distro.Version != "" {
		distro += " " + t.Distro.Version
	}
	platform := t.OS + "/" + t.Arch
	if t.Variant != "" {
		platform += "/" + t.Variant
	}
	return app.Line(distro+" for "+platform, 200)
}

// compose is the image that a description names, with the layers of the app and of the run image, and no other.
func compose(d wire.Described, from ...v1.Image) (v1.Image, error) {
	m, err := v1.ParseManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return nil, err
	}
	c, err := v1.ParseConfigFile(bytes.NewReader(d.Config))
	if err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the rebased image has %d layers and names %d", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	known := map[v1.Hash]v1.Layer{}
	for _, img := range from {
		layers, err := img.Layers()
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			digest, err := l.Digest()
			if err != nil {
				return nil, err
			}
			known[digest] = l
		}
	}
	i := &composed{Described: d, kind: m.MediaType, known: known}
	for n, l := range m.Layers {
		have := known[l.Digest]
		if have == nil {
			return nil, fmt.Errorf("the rebased image has a layer of neither: %s", l.Digest)
		}
		if id, err := have.DiffID(); err != nil || id != c.RootFS.DiffIDs[n] {
			return nil, fmt.Errorf("the rebased image calls the layer %s another one: %w", l.Digest, err)
		}
		i.layers = append(i.layers, have)
	}
	img, err := partial.CompressedToImage(i)
	return &whole{img, i.layers}, err
}

type composed struct {
	wire.Described
	kind   types.MediaType
	known  map[v1.Hash]v1.Layer
	layers []v1.Layer
}

func (i *composed) MediaType() (types.MediaType, error) { return i.kind, nil }
func (i *composed) RawManifest() ([]byte, error)        { return i.Manifest, nil }
func (i *composed) RawConfigFile() ([]byte, error)      { return i.Config, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (i *composed) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if l := i.known[h]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("it has no layer %s", h)
}

// whole gives its layers as they are, so that a registry that has one in another repository is not sent it.
type whole struct {
	v1.Image
	layers []v1.Layer
}

// Layers implements v1.Image.
func (i *whole) Layers() ([]v1.Layer, error) { return i.layers, nil }
