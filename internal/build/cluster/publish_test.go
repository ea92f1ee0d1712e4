package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/registry"
)

func TestPublish(t *testing.T) {
	ctx := context.Background()
	programs := t.TempDir()
	t.Setenv("GITD_PARTS", programs)
	if err := os.WriteFile(filepath.Join(programs, parts.Pod), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	images, err := registry.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer images.Close()
	labelled := func(apis string) v1.Image {
		img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"io.buildpacks.lifecycle.apis": apis}})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	b := &builder.Builder{UID: 1000, GID: 1001, RunImage: empty.Image, Image: labelled(`{"platform":{"supported":["0.13","0.14"]}}`)}
	var log bytes.Buffer
	p, err := Publish(ctx, b, images, app.NewLog(&log))
	if err != nil {
		t.Fatal(err)
	}
	if p.API != "0.14" || p.UID != 1000 || p.GID != 1001 || !strings.HasPrefix(p.RunImage, "gitd/run@sha256:") {
		t.Errorf("%+v", p)
	}
	checkProgram(t, images, p.Image)
	again, err := Publish(ctx, b, images, app.NewLog(&log))
	if err != nil || again.Image != p.Image {
		t.Errorf("the same builder is another image: %+v, %v", again, err)
	}

	b.Image = labelled(`{"platform":{"supported":["0.7"]}}`)
	if _, err := Publish(ctx, b, images, app.NewLog(&log)); app.CodeOf(err) != app.CodeUnavailable {
		t.Errorf("a builder of long ago: %v", err)
	}
	if err := os.Remove(filepath.Join(programs, parts.Pod)); err != nil {
		t.Fatal(err)
	}
	if _, err := Publish(ctx, b, images, app.NewLog(&log)); app.CodeOf(err) != app.CodeUnavailable {
		t.Errorf("no gitd-pod: %v", err)
	}
}

// checkProgram looks for gitd-pod, alone in the last layer of an image.
func checkProgram(t *testing.T, images *registry.Registry, image string) {
	t.Helper()
	repository, digest, _ := strings.Cut(image, "@")
	img, err := images.Image(repository, digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(r)
	h, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(in)
	if err != nil || h.Name != "opt/gitd/bin/gitd-pod" || h.Mode != 0o755 || string(content) != "program" {
		t.Errorf("%+v, %q, %v", h, content, err)
	}
}
