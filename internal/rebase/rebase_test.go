package rebase

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitd-io/gitd/internal/app"
)

// runImage is a run image with one layer, of a distribution.
func runImage(t *testing.T, content, arch, distro string) Base {
	t.Helper()
	img := with(t, empty.Image, content, func(c *v1.ConfigFile) {
		c.OS, c.Architecture = "linux", arch
		c.Config.Labels = map[string]string{"io.buildpacks.base.distro.name": distro, "io.buildpacks.base.distro.version": "13"}
	})
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return Base{Repository: "system/run", Digest: digest.String(), Image: img}
}

// with is an image with a layer more, and another configuration.
func with(t *testing.T, img v1.Image, content string, edit func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(img, static.NewLayer([]byte(content), types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	edit(c)
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

// appOn is an image that buildpacks have built on a run image, with labels of its own.
func appOn(t *testing.T, run Base, labels map[string]string) v1.Image {
	t.Helper()
	layers, err := run.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	top, err := layers[len(layers)-1].DiffID()
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := json.Marshal(map[string]any{"runImage": map[string]any{"topLayer": top.String(), "reference": run.Repository + "@" + run.Digest, "image": run.Repository}})
	if err != nil {
		t.Fatal(err)
	}
	return with(t, run.Image, "the app", func(c *v1.ConfigFile) {
		if c.Config.Labels == nil {
			c.Config.Labels = map[string]string{}
		}
		c.Config.Labels[MetadataLabel] = string(metadata)
		c.Config.Env = []string{"CNB_PLATFORM_API=0.15"}
		for name, value := range labels {
			c.Config.Labels[name] = value
		}
	})
}

func digests(t *testing.T, img v1.Image) (all []string) {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range m.Layers {
		all = append(all, l.Digest.String())
	}
	return all
}

// An image that fits has the layers of the app on those of the new run image, and says so.
func TestOnto(t *testing.T) {
	old, next := runImage(t, "old", "amd64", "debian"), runImage(t, "new", "amd64", "debian")
	img := appOn(t, old, map[string]string{"io.buildpacks.rebasable": "true", "kept": "yes"})
	if standing, err := Standing(img); err != nil || standing != old.Digest {
		t.Errorf("it stands on %q, %v; want %s", standing, err, old.Digest)
	}
	done, err := Onto(t.Context(), img, next)
	if err != nil {
		t.Fatal(err)
	}
	if standing, err := Standing(done); err != nil || standing != next.Digest {
		t.Errorf("it stands on %q, %v; want %s", standing, err, next.Digest)
	}
	want := append(digests(t, next.Image), digests(t, img)[1:]...)
	if got := digests(t, done); !slices.Equal(got, want) {
		t.Errorf("its layers are %v, want %v", got, want)
	}
	if c, err := done.ConfigFile(); err != nil || c.Config.Labels["kept"] != "yes" {
		t.Errorf("%+v, %v", c, err)
	}
}

// What does not fit is refused in words, with what to do.
func TestOnto_refused(t *testing.T) {
	debian := runImage(t, "old", "amd64", "debian")
	for name, c := range map[string]struct {
		labels map[string]string
		onto   Base
		want   string
	}{
		"an extended run image":  {map[string]string{"io.buildpacks.rebasable": "false"}, runImage(t, "new", "amd64", "debian"), "io.buildpacks.rebasable is false"},
		"another architecture":   {nil, runImage(t, "new", "arm64", "debian"), "it is debian 13 for linux/arm64, and the app was built on debian 13 for linux/amd64"},
		"another distribution":   {nil, runImage(t, "new", "amd64", "alpine"), "it is alpine 13 for linux/amd64, and the app was built on debian 13 for linux/amd64"},
		"layers that do not fit": {map[string]string{MetadataLabel: `{"runImage":{"topLayer":"sha256:` + strings.Repeat("0", 64) + `","reference":"x@y"}}`}, runImage(t, "new", "amd64", "debian"), "cannot be rebased"},
		"a label that is none":   {map[string]string{MetadataLabel: `{`}, runImage(t, "new", "amd64", "debian"), "cannot be rebased"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Onto(t.Context(), appOn(t, debian, c.labels), c.onto)
			if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want %q", err, c.want)
			}
			if _, next := app.Explain(err); !strings.Contains(next, "push the app") {
				t.Errorf("what to do is %q", next)
			}
		})
	}
}
