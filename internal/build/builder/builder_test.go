package builder

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"io"
	"log"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/cachetest"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func tinyBuilder(t *testing.T, arch, run string) v1.Image {
	return cachetest.Image(t, "cnb/order.toml", arch, map[string]string{cache.MetadataLabel: `{"images":[{"image":"` + run + `"}],"stack":{"runImage":{"image":""}}}`},
		"CNB_USER_ID=1001", "CNB_GROUP_ID=1002", "PATH=/bin")
}

const otherArch = "riscv64"

// TestLayout: builder and run image from a folder, unpacked, and at once the second time.
func TestLayout(t *testing.T) {
	run := cachetest.Image(t, "etc/run", runtime.GOARCH, nil)
	dir := cachetest.Layout(t, map[string]v1.Image{"me/builder:1": tinyBuilder(t, runtime.GOARCH, "me/run"), "me/run:latest": run, "other": tinyBuilder(t, otherArch, "me/run")})
	o := Options{Ref: "oci:" + dir, Cache: t.TempDir()}
	for range 2 {
		b, err := Ensure(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if b.UID != 1001 || b.GID != 1002 || len(b.Env) != 3 || b.Ref != o.Ref || !strings.HasPrefix(b.Digest, "sha256:") {
			t.Errorf("builder %+v", b)
		}
		if len(b.Layers) != 1 {
			t.Fatalf("layers %q", b.Layers)
		}
		if got, err := os.ReadFile(filepath.Join(b.Layers[0], "cnb/order.toml")); err != nil || string(got) != "content of cnb/order.toml" {
			t.Errorf("order.toml: %q, %v", got, err)
		}
		want, _ := run.Digest()
		if got, err := b.RunImage.Digest(); err != nil || got != want {
			t.Errorf("run image %v, %v; want %v", got, err, want)
		}
		config, _ := run.ConfigFile()
		if _, err := os.Stat(filepath.Join(b.Shared, config.RootFS.DiffIDs[0].Hex, "etc/run")); err != nil {
			t.Errorf("the run image is not unpacked: %v", err)
		}
	}
}

func TestLayoutErrors(t *testing.T) {
	plain := cachetest.Image(t, "x", runtime.GOARCH, nil)
	broken := cachetest.Image(t, "x", runtime.GOARCH, map[string]string{cache.MetadataLabel: "{"})
	rootUser := cachetest.Image(t, "x", runtime.GOARCH, map[string]string{cache.MetadataLabel: `{"images":[{"image":"run"}]}`}, "CNB_USER_ID=0", "CNB_GROUP_ID=0")
	for what, c := range map[string]struct {
		dir  string
		says string
	}{
		"no folder":      {filepath.Join(t.TempDir(), "none"), "no whole OCI layout"},
		"empty folder":   {t.TempDir(), "no whole OCI layout"},
		"no images":      {cachetest.Layout(t, nil), "no image"},
		"no builder":     {cachetest.Layout(t, map[string]v1.Image{"a": plain}), "no builder"},
		"wrong platform": {cachetest.Layout(t, map[string]v1.Image{"a": tinyBuilder(t, otherArch, "run")}), "linux/" + otherArch},
		"bad label":      {cachetest.Layout(t, map[string]v1.Image{"a": broken}), "cannot be read"},
		"builds as root": {cachetest.Layout(t, map[string]v1.Image{"a": rootUser, "run": plain}), "CNB_USER_ID"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := Ensure(t.Context(), Options{Ref: "oci:" + c.dir, Cache: t.TempDir()})
			apptest.WantError(t, err, app.CodeInvalidInput, c.says)
		})
	}
}

// TestRegistry: pulled once, found again while the registry is away, pulled again when the tag has moved.
func TestRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(n string, img v1.Image) string {
		t.Helper()
		ref, err := name.ParseReference(host + "/" + n)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, img); err != nil {
			t.Fatal(err)
		}
		return ref.String()
	}
	run := push("run:1", cachetest.Image(t, "etc/run", runtime.GOARCH, nil))
	ref := push("builder:1", tinyBuilder(t, runtime.GOARCH, run))
	plain := push("plain:1", cachetest.Image(t, "x", runtime.GOARCH, nil))
	other := push("other:1", tinyBuilder(t, otherArch, run))
	lost := push("lost:1", tinyBuilder(t, runtime.GOARCH, host+"/gone:1"))
	dir := t.TempDir()
	first, err := Ensure(t.Context(), Options{Ref: ref, Cache: dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Layers) != 1 || first.UID != 1001 {
		t.Errorf("builder %+v", first)
	}

	for bad, says := range map[string]string{plain: "no builder", other: "linux/" + otherArch, host + "/none:1": "there is no image", lost: "run image", "Not A Ref": "no image reference"} {
		_, err := Ensure(t.Context(), Options{Ref: bad, Cache: dir})
		apptest.WantError(t, err, app.CodeInvalidInput, says)
	}

	push("builder:1", cachetest.Image(t, "cnb/newer", runtime.GOARCH, map[string]string{cache.MetadataLabel: `{"stack":{"runImage":{"image":"` + run + `"}}}`}, "CNB_USER_ID=7", "CNB_GROUP_ID=7"))
	second, err := Ensure(t.Context(), Options{Ref: ref, Cache: dir})
	if err != nil || second.Digest == first.Digest || second.UID != 7 {
		t.Fatalf("after the tag moved: %+v, %v", second, err)
	}
	if _, err := first.Image.RawConfigFile(); err != nil {
		t.Errorf("the image that a server still uses is gone: %v", err)
	}

	server.Close()
	again, err := Ensure(t.Context(), Options{Ref: ref, Cache: dir})
	if err != nil || again.Digest != second.Digest {
		t.Fatalf("with the registry away: %+v, %v", again, err)
	}
	_, err = Ensure(t.Context(), Options{Ref: ref, Cache: t.TempDir()})
	apptest.WantError(t, err, app.CodeUnavailable, "cannot be reached", host)
}

func TestMissingPart(t *testing.T) {
	t.Setenv("GITD_PARTS", t.TempDir())
	_, err := Ensure(t.Context(), Options{Cache: t.TempDir()})
	apptest.WantError(t, err, app.CodeUnavailable, "missing")
}

// TestUnwritableCache: a cache below a file.
func TestUnwritableCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Ensure(t.Context(), Options{Cache: filepath.Join(file, "cache")})
	apptest.WantError(t, err, app.CodeUnavailable, "cannot be written")
}

func TestRunImages(t *testing.T) {
	for label, want := range map[string]string{
		`{"images":[{"image":"a","mirrors":["b","a"]},{"image":"c"}],"stack":{"runImage":{"image":"a"}}}`: "a b c",
		`{"stack":{"runImage":{"image":"old","mirrors":["m"]}}}`:                                          "old m",
		`{"stack":{"runImage":{"image":""}}}`:                                                             "",
		`{}`:                                                                                              "",
		`[]`:                                                                                              "",
	} {
		names, err := runImages("ref", &v1.ConfigFile{Config: v1.Config{Labels: map[string]string{cache.MetadataLabel: label}}})
		if got := strings.Join(names, " "); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", label, got, err, want)
		}
	}
}
