package pull

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/gitd-io/gitd/internal/app"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// layersAtOnce is how many layers are fetched at a time.
const layersAtOnce = 3

// Fetch fetches the image's layers into dir, which exists, and returns the image with its layers there as files. Each layer is fetched, also one
// that this machine has of another image, and is what the manifest and the configuration say, packed and unpacked: naming another's
// layer does not give it to others. have is an image of the same owner whose layers are not fetched again; nil for none. It returns an *app.Error.
func (f *Found) Fetch(ctx context.Context, dir string, have v1.Image) (v1.Image, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	known := layersOf(have)
	img := &fetched{found: f, files: map[v1.Hash]string{}, known: map[v1.Hash]v1.Layer{}}
	var left atomic.Int64
	left.Store(f.o.Most)
	turns := make(chan struct{}, layersAtOnce)
	var wait sync.WaitGroup
	for i, l := range f.layers {
		if k, ok := known[l.Digest]; ok && k.id == f.config.RootFS.DiffIDs[i] {
			img.known[l.Digest] = k.layer
			continue
		}
		if _, twice := img.files[l.Digest]; twice {
			continue
		}
		file := filepath.Join(dir, l.Digest.Hex)
		img.files[l.Digest] = file
		wait.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if ctx.Err() != nil {
				return
			}
			if err := f.fetch(ctx, l, f.config.RootFS.DiffIDs[i], file, &left); err != nil {
				cancel(err)
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(img)
}

type known struct {
	layer v1.Layer
	id    v1.Hash
}

func layersOf(img v1.Image) map[v1.Hash]known {
	all := map[v1.Hash]known{}
	if img == nil {
		return all
	}
	layers, err := img.Layers()
	if err != nil {
		return all
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			continue
		}
		if id, err := l.DiffID(); err == nil {
			all[digest] = known{l, id}
		}
	}
	return all
}

// fetch writes one layer to a file, and checks it.
func (f *Found) fetch(ctx context.Context, d v1.Descriptor, id v1.Hash, file string, left *atomic.Int64) error {
	wrong := func(format string, args ...any) error {
		return app.Errorf(app.CodeInvalidInput, "push the image again to its registry", "layer %.19s of the image "+format, append([]any{d.Digest}, args...)...)
	}
	l, err := f.image.LayerByDigest(d.Digest)
	if err != nil {
		return f.failed(ctx, err)
	}
	content, err := l.Compressed()
	if err != nil {
		return f.failed(ctx, err)
	}
	defer content.Close()
	defer context.AfterFunc(ctx, func() { content.Close() })()
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	sum, size := sha256.New(), &counter{}
	packed := io.TeeReader(io.LimitReader(content, d.Size+1), io.MultiWriter(out, sum, size))
	unpacked, err := unpackedSum(packed, left)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errTooLarge):
		return app.Errorf(app.CodeLimitExceeded, "make the image smaller, or ask the operator (gitd serve --build-disk)", "the image has more than %s unpacked", app.Size(f.o.Most))
	case err != nil && size.n < d.Size:
		return f.failed(ctx, err)
	case err != nil || size.n != d.Size || hex.EncodeToString(sum.Sum(nil)) != d.Digest.Hex:
		return wrong("is not what its manifest says")
	case unpacked != id.Hex:
		return wrong("is not what its configuration says")
	}
	return out.Sync()
}

func (f *Found) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var told *app.Error
	if errors.As(err, &told) {
		return told
	}
	return app.Wrap(err, app.CodeUnavailable, "try again in a moment", "the registry %s broke off while it sent the image", f.host)
}

var errTooLarge = errors.New("too large")

// unpackedSum is the digest of what a layer unpacks to. It reads all of packed. left bounds what all layers unpack to.
func unpackedSum(packed io.Reader, left *atomic.Int64) (string, error) {
	in := bufio.NewReaderSize(packed, 64<<10)
	magic, _ := in.Peek(4)
	var content io.Reader = in
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return "", err
		}
		content = z
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return "", err
		}
		defer z.Close()
		content = z
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, &bounded{content, left}); err != nil {
		return "", err
	}
	_, err := io.Copy(io.Discard, in) // what stands behind the end of the compressed data
	return hex.EncodeToString(sum.Sum(nil)), err
}

// bounded fails when more is read than is left.
type bounded struct {
	r    io.Reader
	left *atomic.Int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left.Add(-int64(n)) < 0 {
		return n, errTooLarge
	}
	return n, err
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// fetched is an image whose layers are files.
type fetched struct {
	found *Found
	files map[v1.Hash]string
	known map[v1.Hash]v1.Layer
}

func (i *fetched) MediaType() (types.MediaType, error) { return i.found.image.MediaType() }
func (i *fetched) RawManifest() ([]byte, error)        { return i.found.image.RawManifest() }
func (i *fetched) RawConfigFile() ([]byte, error)      { return i.found.image.RawConfigFile() }

// LayerByDigest implements partial.CompressedImageCore.
func (i *fetched) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if l, ok := i.known[h]; ok {
		return l, nil
	}
	for _, d := range i.found.layers {
		if d.Digest == h {
			return &layer{d, i.files[h]}, nil
		}
	}
	return partial.ConfigLayer(i.found.image)
}

type layer struct {
	d    v1.Descriptor
	file string
}

func (l *layer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.d.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { return os.Open(l.file) }
