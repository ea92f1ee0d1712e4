package contract

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image builds the image of the test app: one layer with a static program, which is also its process type job, and an
// /etc/passwd with the user "app".
func Image(t testing.TB) v1.Image {
	t.Helper()
	return imageOf(t, build(t))
}

// build builds the test app, and returns its file.
func build(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "testapp")
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "github.com/gitd-io/gitd/internal/deploy/contract/testapp")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build the test app: %v\n%s", err, out)
	}
	return file
}

func imageOf(t testing.TB, file string) v1.Image {
	t.Helper()
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return ImageOf(t, v1.Config{Entrypoint: []string{"/app/testapp"}, User: "app", WorkingDir: "/app", Env: []string{"FROM_IMAGE=yes", "VERSION=none"}},
		File{"app/", 0o755, nil}, File{"app/testapp", 0o755, program}, File{"app/data/", 0o777, nil}, File{"app/data/greeting", 0o666, []byte("hello")},
		File{"cnb/", 0o755, nil}, File{"cnb/process/", 0o755, nil}, File{"cnb/process/job", 0o755, program},
		File{"cnb/lifecycle/", 0o755, nil}, File{"cnb/lifecycle/launcher", 0o755, program}, File{"bin/", 0o755, nil}, File{"bin/sh", 0o755, program}, File{"tmp/", 0o1777, nil}, File{"etc/", 0o755, nil},
		File{"etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/app:/bin/sh\n")})
}

// File is a file of an image; a name that ends in a slash is a folder's.
type File struct {
	Name string
	Mode int64
	Data []byte
}

// ImageOf makes an image with one layer of these files.
func ImageOf(t testing.TB, config v1.Config, files ...File) v1.Image {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data)), Typeflag: tar.TypeReg}
		if f.Name[len(f.Name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", "amd64", config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	return mutate.ConfigMediaType(img, types.OCIConfigJSON)
}

// Reference returns the reference of an image in the form that platforms accept.
func Reference(t testing.TB, repository string, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s@%s", repository, d)
}
