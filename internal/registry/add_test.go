package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func TestAddImageLinksBlobsOfALayout(t *testing.T) {
	dir := t.TempDir()
	img := newImage(t, 2)
	p, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	hash, _ := img.Digest()
	stored, err := p.Image(hash)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, filepath.Join(dir, "registry"))
	for range 2 { // the second has nothing to do
		if err := r.AddImage(context.Background(), RunImage, "latest", stored); err != nil {
			t.Fatal(err)
		}
	}
	same(t, r, RunImage, img)
	hex := layerDigest(t, img, 0)[len("sha256:"):]
	a, err := os.Stat(filepath.Join(dir, "layout/blobs/sha256", hex))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(r.blob(hex))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) {
		t.Error("the layer was copied, not linked")
	}
}

func TestPlaceBlob(t *testing.T) {
	dir := t.TempDir()
	r := open(t, filepath.Join(dir, "registry"))
	img := newImage(t, 1)
	layers, _ := img.Layers()
	digest := layerDigest(t, img, 0)
	content, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		file := filepath.Join(dir, "blob")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.PlaceBlob("hello", digest, file); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the file is still there: %v", err)
		}
	}
	got, err := os.ReadFile(r.blob(digest[len("sha256:"):]))
	if err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%v", err)
	}
	push(t, r, "hello", "v1", img)
	same(t, r, "hello", img)
	for _, bad := range []string{"", "sha256:abc", "sha256:" + strings.Repeat("g", 64), "sha512:" + strings.Repeat("a", 128), "sha256:../../" + strings.Repeat("a", 58)} {
		if err := r.PlaceBlob("hello", bad, filepath.Join(dir, "blob")); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, bad := range []string{"", "../x", "a/../b", "/a", "A", "_layers"} {
		if err := r.PlaceBlob(bad, digest, filepath.Join(dir, "blob")); err == nil {
			t.Errorf("repository %q was taken", bad)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "blob")); err != nil {
		t.Fatal(err)
	}
	if err := r.PlaceBlob("hello", digest, filepath.Join(dir, "blob")); err == nil {
		t.Error("a symbolic link was taken")
	}
}

// TestPlaceImage: an image gets the layers that its repository has and those of the image that it stands on, and no others.
func TestPlaceImage(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "registry"))
	img := newImage(t, 2)
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.PlaceImage("hello", "v1", "base", manifest, config); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image without its layers: %v", err)
	}
	push(t, r, "other", "v1", img)
	if _, err := r.PlaceImage("hello", "v1", "base", manifest, config); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image with the layers of another repository: %v", err)
	}
	if _, err := r.PlaceImage("hello", "v1", "other", manifest, append(config, ' ')); err == nil {
		t.Error("a configuration of another image was taken")
	}
	for _, bad := range []string{"", "../x", "a:b"} {
		if _, err := r.PlaceImage("hello", bad, "other", manifest, config); err == nil {
			t.Errorf("tag %q was taken", bad)
		}
	}
	for range 2 {
		digest, err := r.PlaceImage("hello", "v1", "other", manifest, config)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := img.Digest(); digest != want.String() {
			t.Errorf("digest %s, want %s", digest, want)
		}
	}
	if err := r.Sync("hello", digestOf(t, img)); err != nil {
		t.Error(err)
	}
	same(t, r, "hello", img)
}
