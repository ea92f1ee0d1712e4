package maker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/cachetest"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestCreateBuilder has pack make a builder of tiny images and the real catalog.
func TestCreateBuilder(t *testing.T) {
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	part := func(name string) recipe.Part {
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, []byte("#!/bin/sh\n# "+name+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return recipe.Part{Path: p}
	}
	m := &maker{Cache: c, recipe: &recipe.Recipe{Arch: runtime.GOARCH, Buildpacks: part("buildpacks"), Lifecycle: part("lifecycle"), Launcher: part("launcher")}}
	distro := map[string]string{"ID": "debian", "VERSION_ID": "12"}
	run, err := configure(cachetest.Image(t, "etc/run", runtime.GOARCH, nil), distro, nil)
	if err != nil {
		t.Fatal(err)
	}
	build, err := configure(cachetest.Image(t, "etc/build", runtime.GOARCH, nil), distro, []string{"CNB_USER_ID=1000", "CNB_GROUP_ID=1000"})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := c.Temp("builder")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.createBuilder(t.Context(), dir, run, build); err != nil {
		t.Fatal(err)
	}
	img, gotRun, err := cache.ReadEntry(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("the builder image is not whole: %v", err)
	}
	want, _ := run.Digest()
	if got, _ := gotRun.Digest(); got != want {
		t.Errorf("run image %s, want %s", got, want)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	type image struct {
		Image   string
		Mirrors []string
	}
	var metadata struct {
		Lifecycle struct{ Version string }
		Images    []image
		Stack     struct{ RunImage image }
	}
	if err := json.Unmarshal([]byte(config.Config.Labels[cache.MetadataLabel]), &metadata); err != nil || metadata.Lifecycle.Version != lifecycleVersion {
		t.Errorf("lifecycle %q, %v", metadata.Lifecycle.Version, err)
	}
	if i := metadata.Images; len(i) != 1 || i[0].Image != cache.RunName || len(i[0].Mirrors) != 0 || metadata.Stack.RunImage.Image != "" {
		t.Errorf("run images %+v", metadata)
	}

	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	final, err := c.Put(dir, "builder/x", digest.String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := builder.Ensure(t.Context(), builder.Options{Ref: "oci:" + final, Cache: c.Dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"cnb/order.toml": catalog.Go, "cnb/run.toml": cache.RunName, "cnb/lifecycle/lifecycle": "# lifecycle", "cnb/lifecycle/launcher": "# launcher",
		"cnb/lifecycle/detector": "# lifecycle", "etc/build": "content",
		filepath.Join(catalog.All()[0].Dir()[1:], "buildpack.toml"): catalog.Go,
	} {
		if got, err := readTop(b.Layers, name); err != nil || !strings.Contains(string(got), says) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, says)
		}
	}
	found := false
	for _, l := range b.Layers {
		if target, err := os.Readlink(filepath.Join(l, catalog.All()[0].Dir(), "bin/build")); err == nil {
			found = target == catalog.Program
		}
	}
	if !found {
		t.Error("the buildpacks do not refer to their program")
	}
	// The same again is the same image: a second server on another machine has the same builder.
	again, err := c.Temp("builder")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.createBuilder(t.Context(), again, run, build); err != nil {
		t.Fatal(err)
	}
	img, _, err = cache.ReadEntry(again)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := img.Digest(); got != digest {
		t.Errorf("made again it is %s, was %s", got, digest)
	}
}

func TestLifecycleDescriptor(t *testing.T) {
	d := lifecycleDescriptor()
	for _, s := range []string{`version = "0.21.0"`, `"0.8"`, `"0.15"`} {
		if !strings.Contains(d, s) {
			t.Errorf("no %s in\n%s", s, d)
		}
	}
	mod, err := os.ReadFile("../../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "github.com/buildpacks/lifecycle v"+lifecycleVersion+"\n") {
		t.Errorf("go.mod has another lifecycle than %s", lifecycleVersion)
	}
}
