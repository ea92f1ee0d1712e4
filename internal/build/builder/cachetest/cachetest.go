// Package cachetest makes tiny images and layouts for the tests of builder images.
package cachetest

import (
	"path"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/layer"
)

// Layer makes a layer with one file, which holds content; "" for no file.
func Layer(t testing.TB, file, content string) v1.Layer {
	t.Helper()
	l, err := layer.InMemory(func(w *layer.Writer) error {
		if file == "" {
			return nil
		}
		if dir := path.Dir(file); dir != "." {
			if err := w.Dir(dir, 0o755, 0); err != nil {
				return err
			}
		}
		return w.Bytes(file, 0o644, []byte(content))
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Image has one file, "content of FILE", and the labels and environment given.
func Image(t testing.TB, file, arch string, labels map[string]string, env ...string) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(cache.EmptyImage(arch), Layer(t, file, "content of "+file))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config.Labels, config.Config.Env = labels, env
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// Layout writes images into an OCI layout, by their names.
func Layout(t testing.TB, images map[string]v1.Image) (dir string) {
	t.Helper()
	dir = t.TempDir()
	p, err := cache.NewLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	for n, img := range images {
		if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{cache.RefName: n})); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
