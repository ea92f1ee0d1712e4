package cache

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/gitd-io/gitd/internal/layer"
)

// The files of a stage: a layer, and a LayerInfo.
const (
	LayerFile = "layer.tar.gz"
	InfoFile  = "layer.json"
)

// Layer is a gzip-compressed layer in a file whose digests are known.
type Layer struct {
	File string
	Info LayerInfo
}

// LayerInfo is what layer.json holds.
type LayerInfo struct {
	Digest v1.Hash `json:"digest"`
	DiffID v1.Hash `json:"diffID"`
	Size   int64   `json:"size"` // compressed, in bytes
}

var _ v1.Layer = (*Layer)(nil)

// Digest is the digest of the file.
func (l *Layer) Digest() (v1.Hash, error) { return l.Info.Digest, nil }

// DiffID is the digest of what the file holds.
func (l *Layer) DiffID() (v1.Hash, error) { return l.Info.DiffID, nil }

// Size is that of the file, in bytes.
func (l *Layer) Size() (int64, error) { return l.Info.Size, nil }

// MediaType is that of the image specification.
func (l *Layer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// Compressed opens the file: AddImage links it.
func (l *Layer) Compressed() (io.ReadCloser, error) { return os.Open(l.File) }

// Uncompressed reads what the file holds.
func (l *Layer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.File)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<18))
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// ReadLayer reads the layer of a stage, nil if no whole one is there.
func ReadLayer(dir string) (*Layer, error) {
	b, err := os.ReadFile(filepath.Join(dir, InfoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := &Layer{File: filepath.Join(dir, LayerFile)}
	if err := json.Unmarshal(b, &l.Info); err != nil {
		return nil, nil // not ours, or not whole: it is made again
	}
	if s, err := os.Stat(l.File); err != nil || s.Size() != l.Info.Size {
		return nil, nil
	}
	return l, nil
}

// Append puts layers on an image.
func Append(base v1.Image, layers ...*Layer) (v1.Image, error) {
	var all []mutate.Addendum
	for _, l := range layers {
		all = append(all, mutate.Addendum{Layer: l, History: v1.History{Created: v1.Time{Time: layer.Made}, CreatedBy: "gitd"}})
	}
	return mutate.Append(base, all...)
}

// EmptyImage has no layers.
func EmptyImage(arch string) v1.Image {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}})
	if err != nil {
		panic(err) // plain values
	}
	return img
}
