package image

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/parts"
)

// baseLayout is an image with users, in an OCI layout.
func baseLayout(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for n, text := range map[string]string{"./etc/passwd": "root:x:0:0:root:/root:/bin/sh", "./etc/group": "root:x:0:\n"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, configFor(t, img)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "base")
	if err := Layout(dir, "base", img); err != nil {
		t.Fatal(err)
	}
	return dir
}

func configFor(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	return c
}

// valid checks an image as others read it.
func valid(t *testing.T, img v1.Image) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	if err := Layout(dir, "image", img); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
}

// compiled are programs by what they were compiled with.
var compiled = map[string]string{}

// TestMain removes them.
func TestMain(m *testing.M) {
	status := m.Run()
	for _, file := range compiled {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(status)
}

// program compiles one.
func program(t *testing.T, env ...string) string {
	t.Helper()
	key := strings.Join(env, " ")
	if file := compiled[key]; file != "" {
		return file
	}
	dir, err := os.MkdirTemp("", "gitd-image-test-")
	if err != nil {
		t.Fatal(err)
	}
	compiled[key] = filepath.Join(dir, "program")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "build", "-o", compiled[key], filepath.Join(dir, "main.go"))
	c.Env = append(os.Environ(), append([]string{"GOFLAGS="}, env...)...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return compiled[key]
}

func options(t *testing.T) Options {
	t.Helper()
	binary := program(t, "CGO_ENABLED=0")
	dir := t.TempDir()
	for _, n := range []string{parts.Shim, parts.Buildpacks, parts.Lifecycle, parts.Launcher, parts.Builder, parts.Helper, "gitd-other", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("the program "+n), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Binary: binary, Parts: dir, Base: "oci:" + baseLayout(t), Cache: t.TempDir(), Version: "1.2.3", Log: app.NewLog(io.Discard)}
}

// contentOf returns the files of an image, and checks their owners, modes and links.
func contentOf(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := mutate.Extract(img)
	defer r.Close()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(in)
		n := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		files[n] = string(b)
		switch {
		case n == Data && (h.Uid != User || h.Mode != 0o700):
			t.Errorf("%s: owner %d, mode %o", n, h.Uid, h.Mode)
		case strings.HasPrefix(n, Home+"/") && (h.Uid != 0 || h.Mode != 0o755):
			t.Errorf("%s: owner %d, mode %o", n, h.Uid, h.Mode)
		case n == "usr/local/bin/gitd" && h.Linkname != "/"+Home+"/gitd":
			t.Errorf("%s leads to %s", n, h.Linkname)
		}
	}
	return files
}

func TestMake(t *testing.T) {
	ctx := context.Background()
	o := options(t)
	img, err := Make(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	valid(t, img)
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.Config.User != "65532:65532" || strings.Join(c.Config.Entrypoint, " ") != "/usr/local/bin/gitd" || strings.Join(c.Config.Cmd, " ") != "serve" {
		t.Errorf("configuration %+v", c.Config)
	}
	files := contentOf(t, img)
	for n, want := range map[string]string{
		"etc/passwd":                  "root:x:0:0:root:/root:/bin/sh\ngitd:x:65532:65532:gitd:/var/lib/gitd:/usr/sbin/nologin\n",
		"etc/group":                   "root:x:0:\ngitd:x:65532:\n",
		Home + "/parts/gitd-other":    "the program gitd-other",
		Home + "/parts/" + parts.Shim: "the program " + parts.Shim,
	} {
		if files[n] != want {
			t.Errorf("%s: %q", n, files[n])
		}
	}
	for _, n := range []string{".hidden", parts.Builder} {
		if _, ok := files[Home+"/parts/"+n]; ok {
			t.Errorf("%s went in", n)
		}
	}

	t.Run("again", func(t *testing.T) { testAgain(t, o, img) })
	t.Run("layout", func(t *testing.T) { testLayout(t, o, img) })
	t.Run("push", func(t *testing.T) { testPush(t, o, img) })
}

func testAgain(t *testing.T, o Options, img v1.Image) {
	again, err := Make(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := img.Digest()
	if b, _ := again.Digest(); a != b {
		t.Errorf("the same content has two digests: %s, %s", a, b)
	}
}

func testLayout(t *testing.T, o Options, img v1.Image) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := Layout(dir, "gitd", img); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := index.IndexManifest(); err != nil || len(m.Manifests) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := Layout(o.Parts, "gitd", img); err == nil {
		t.Error("a folder with other files was taken")
	}
}

func testPush(t *testing.T, o Options, img v1.Image) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	target, err := ParseTarget(t.Context(), host+"/team/gitd:1", "", false)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	reference, err := target.Push(t.Context(), target.Tag, img, app.NewLog(&log))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := img.Digest()
	if reference != host+"/team/gitd@"+d.String() || !strings.Contains(log.String(), "Pushing "+host+"/team/gitd:1") {
		t.Errorf("%s\n%s", reference, log.String())
	}
	ref, err := name.ParseReference(host + "/team/gitd:1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := remote.Head(ref); err != nil || got.Digest != d {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMakeRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for what, c := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"dynamically linked": {func(o *Options) { o.Binary = "/bin/sh" }, "dynamically linked"},
		"no program":         {func(o *Options) { o.Binary = text }, "is no Linux program"},
		"no file":            {func(o *Options) { o.Binary = "/nowhere" }, "cannot be read"},
		"another machine":    {func(o *Options) { o.Binary = program(t, "CGO_ENABLED=0", "GOARCH="+other) }, "another kind of machine"},
		"no parts":           {func(o *Options) { o.Parts = "/nowhere" }, "are missing"},
		"a part missing":     {func(o *Options) { _ = os.Remove(filepath.Join(o.Parts, parts.Shim)) }, parts.Shim + " is missing"},
	} {
		t.Run(what, func(t *testing.T) {
			o := options(t)
			c.change(&o)
			_, err := Make(context.Background(), o)
			if message, next := app.Explain(err); err == nil || !strings.Contains(message, c.want) || next == "" {
				t.Errorf("got %q, %q", message, next)
			}
		})
	}
	for _, reference := range []string{"gitd", "team/gitd:1", "registry.example.com", "registry.example.com/gitd@sha256:" + strings.Repeat("a", 64), "registry.example.com/Team/gitd:1"} {
		if _, err := ParseTarget(context.Background(), reference, "", false); app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

func TestNameRunImage(t *testing.T) {
	img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{metadataLabel: `{"description":"x","stack":{"runImage":{"image":"gitd/run"}},"images":[{"image":"gitd/run","mirrors":["a"]}]}`}})
	if err != nil {
		t.Fatal(err)
	}
	named, err := NameRunImage(img, "registry.example.com/team/builder:1-run")
	if err != nil {
		t.Fatal(err)
	}
	c, err := named.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"description":"x","images":[{"image":"registry.example.com/team/builder:1-run"}],"stack":{"runImage":{"image":"registry.example.com/team/builder:1-run"}}}`
	if got := c.Config.Labels[metadataLabel]; got != want {
		t.Errorf("label %s", got)
	}
	valid(t, named)
	if _, err := NameRunImage(empty.Image, "x"); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("got %v", err)
	}
}
