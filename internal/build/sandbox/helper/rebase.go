package helper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/buildpacks/imgutil"
	"github.com/buildpacks/lifecycle/api"
	"github.com/buildpacks/lifecycle/image"
	"github.com/buildpacks/lifecycle/log"
	"github.com/buildpacks/lifecycle/phase"
	"github.com/buildpacks/lifecycle/platform"
	"github.com/buildpacks/lifecycle/platform/files"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
)

// rebase puts the app's layers on another run image, by the lifecycle's own rules. It works on descriptions alone: no layer is read, and nothing is
// asked over the network.
func (h *helper) rebase() error {
	j := h.job.Rebase
	if err := leave(j.Root, h.job.Owner); err != nil {
		return err
	}
	logger := log.NewDefaultLogger(io.Discard)
	if err := logger.SetLevel("error"); err != nil {
		return err
	}
	base, err := sketch(j.Run)
	if err != nil {
		return fmt.Errorf("read the run image: %w", err)
	}
	old, err := sketch(j.App)
	if err != nil {
		return fmt.Errorf("read the app's image: %w", err)
	}
	working, err := newSketch(old, "app", "")
	if err != nil {
		return err
	}
	var now files.LayersMetadata
	if err := image.DecodeLabel(working, platform.LifecycleMetadataLabel, &now); err != nil {
		return err
	}
	// The image goes on calling its run image what it has called it: it is found under another address from start to start.
	name := now.RunImage.Image
	if name == "" && now.Stack != nil {
		name = now.Stack.RunImage.Image
	}
	run, err := newSketch(base, name, j.RunName+"@"+j.RunDigest)
	if err != nil {
		return err
	}
	rebaser := &phase.Rebaser{Logger: logger, PlatformAPI: api.Platform.Latest()}
	if _, err := rebaser.Rebase(working, run, "app", nil); err != nil {
		return err
	}
	done := &wire.Rebased{}
	if done.Manifest, err = working.RawManifest(); err != nil {
		return err
	}
	if done.Config, err = working.RawConfigFile(); err != nil {
		return err
	}
	h.say(wire.Reply{Rebased: done})
	return nil
}

// leave gives up this process's rights where it has any: an empty folder is its root, and it is a user of nothing.
func leave(root string, owner int) error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 1, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_NPROC: 256}
	for resource, limit := range limits {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Chroot(root); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(owner, owner, owner), syscall.Setresuid(owner, owner, owner)); err != nil {
		return fmt.Errorf("become another user: %w", err)
	}
	if os.Geteuid() == 0 {
		return errors.New("still root")
	}
	return nil
}

// sketch is an image of which only manifest and configuration are here.
func sketch(d wire.Described) (v1.Image, error) {
	var m v1.Manifest
	if err := json.Unmarshal(d.Manifest, &m); err != nil {
		return nil, err
	}
	var c v1.ConfigFile
	if err := json.Unmarshal(d.Config, &c); err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("it has %d layers and names %d", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return partial.CompressedToImage(&drawn{d, m, c})
}

type drawn struct {
	wire.Described
	manifest v1.Manifest
	config   v1.ConfigFile
}

func (i *drawn) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *drawn) RawManifest() ([]byte, error)        { return i.Manifest, nil }
func (i *drawn) RawConfigFile() ([]byte, error)      { return i.Config, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (i *drawn) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for n, l := range i.manifest.Layers {
		if l.Digest == h {
			return &drawnLayer{placedLayer{digest: h, diffID: i.config.RootFS.DiffIDs[n], size: l.Size}, l.MediaType}, nil
		}
	}
	return nil, fmt.Errorf("it has no layer %s", h)
}

type drawnLayer struct {
	placedLayer
	kind types.MediaType
}

func (l *drawnLayer) MediaType() (types.MediaType, error) { return l.kind, nil }

// sketched is a sketch as the lifecycle takes images.
type sketched struct {
	*imgutil.CNBImageCore
	name, reference string
}

func newSketch(img v1.Image, name, reference string) (*sketched, error) {
	c, err := imgutil.NewCNBImage(imgutil.ImageOptions{BaseImage: img, PreserveHistory: true})
	return &sketched{c, name, reference}, err
}

type reference string

func (r reference) String() string { return string(r) }

func (i *sketched) Found() bool                             { return true }
func (i *sketched) Identifier() (imgutil.Identifier, error) { return reference(i.reference), nil }
func (i *sketched) Kind() string                            { return "remote" }
func (i *sketched) Name() string                            { return i.name }
func (i *sketched) Valid() bool                             { return true }
func (i *sketched) Delete() error                           { return errPlaced }
func (i *sketched) Rename(name string)                      { i.name = name }
func (i *sketched) Save(...string) error                    { return nil }
func (i *sketched) SaveAs(string, ...string) error          { return nil }
func (i *sketched) SaveFile() (string, error)               { return "", errPlaced }
