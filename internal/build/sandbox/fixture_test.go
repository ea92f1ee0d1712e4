package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// The builder image of these tests is made of this machine's shell and a few tools, the lifecycle built from its module, and
// two buildpacks: test/script runs the app's build.sh with its layers directory in $L, and test/other wants other.txt.

var (
	root    string // of the fixture, removed at the end
	rootErr error
	prepare sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	if root != "" {
		os.RemoveAll(root)
	}
	os.Exit(code)
}

const testUID = 1000

func makeRoot() {
	prepare.Do(func() {
		if root, rootErr = os.MkdirTemp("", "gitd-build-test-"); rootErr == nil {
			rootErr = fillRoot(filepath.Join(root, "rootfs"))
		}
	})
}

func fillRoot(dir string) error {
	for _, d := range []string{"bin", "tmp", "proc", "dev", "etc", "home/cnb", "var/tmp", "cnb/lifecycle"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, tool := range []string{"sh", "cat", "mkdir", "rm", "cp", "mv", "ls", "sleep", "dd", "id", "env", "head", "tail", "touch", "ln", "chmod", "mkfifo"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			return fmt.Errorf("these tests need %s: %w", tool, err)
		}
		if err := copyProgram(dir, path, "/bin/"+tool); err != nil {
			return err
		}
	}
	if os.Getenv("GITD_PARTS") == "" {
		os.Setenv("GITD_PARTS", "../../../bin/parts")
	}
	for _, name := range []string{parts.Lifecycle, parts.Launcher} {
		from, err := parts.Path(name)
		if err != nil {
			return fmt.Errorf("these tests need the parts (make parts): %w", err)
		}
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cnb/lifecycle", name), b, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"detector", "builder", "creator"} {
		if err := os.Symlink("lifecycle", filepath.Join(dir, "cnb/lifecycle", name)); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"etc/passwd":              "root:x:0:0::/:/bin/sh\ncnb:x:1000:1000::/home/cnb:/bin/sh\n",
		"etc/group":               "root:x:0:\ncnb:x:1000:\n",
		"home/cnb/.profile":       "of the image\n",
		"opt/gitd/bin/buildpacks": "#!/bin/sh\n# prepare REQUESTS CACHE SHARED\n[ \"$(head -c 4 $2)\" != fail ] || { echo 'no such package'; exit 1; }\ncp $2 $4/list && echo x >> $3/calls && id -u > $4/uid\n",
		"cnb/order.toml":          "[[order]]\n[[order.group]]\nid = \"test/other\"\nversion = \"1.0\"\n[[order]]\n[[order.group]]\nid = \"test/script\"\nversion = \"0.1.0\"\n",
		"cnb/buildpacks/test_other/1.0/buildpack.toml":    "api = \"0.11\"\n[buildpack]\nid = \"test/other\"\nversion = \"1.0\"\n[[targets]]\nos = \"linux\"\n",
		"cnb/buildpacks/test_other/1.0/bin/detect":        "#!/bin/sh\n[ -f broken.txt ] && { echo 'broken.txt: line 1: this is not a list'; exit 1; }\n[ -f wrong.txt ] && { echo 'gitd-error: wrong.txt: line 2: unexpected end' >&2; exit 1; }\n[ -f other.txt ] && exit 0\necho 'gitd-looked-for: other.txt'\nexit 100\n",
		"cnb/buildpacks/test_other/1.0/bin/build":         "#!/bin/sh\nexit 0\n",
		"cnb/buildpacks/test_script/0.1.0/buildpack.toml": "api = \"0.11\"\n[buildpack]\nid = \"test/script\"\nversion = \"0.1.0\"\n[[targets]]\nos = \"linux\"\n",
		"cnb/buildpacks/test_script/0.1.0/bin/detect":     "#!/bin/sh\n[ -f build.sh ] || { echo 'gitd-looked-for: build.sh'; exit 100; }\necho 'gitd-detect: Script (build.sh)'\n",
		"cnb/buildpacks/test_script/0.1.0/bin/build":      "#!/bin/sh\nexport L=$CNB_LAYERS_DIR\nexec /bin/sh ./build.sh\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(os.Chown(filepath.Join(dir, "home/cnb"), testUID, testUID), os.Chmod(filepath.Join(dir, "var/tmp"), 0o777|os.ModeSticky))
}

// copyProgram copies a program and the libraries that it is linked with.
func copyProgram(root, from, to string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	files := map[string]string{from: to}
	out, _ := exec.Command("ldd", from).Output() // fails for a static one
	for line := range strings.SplitSeq(string(out), "\n") {
		for f := range strings.FieldsSeq(line) {
			if strings.HasPrefix(f, "/") {
				files[f] = f
			}
		}
	}
	for from, to := range files {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		to = filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func testImage(t *testing.T, labels map[string]string) v1.Image {
	t.Helper()
	layer, err := random.Layer(5000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", "amd64"
	c.Config.Env = []string{"PATH=/bin"}
	c.Config.Labels = labels
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

// fixture is an engine with all that it stands on, real and of its own.
type fixture struct {
	*Engine
	t        *testing.T
	registry *registry.Registry
	host     *sandbox.Host
	version  int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests need root: they run containers")
	}
	makeRoot()
	if rootErr != nil {
		t.Fatal(rootErr)
	}
	ctx := context.Background()
	f := &fixture{t: t}
	dir := t.TempDir()
	var err error
	if f.registry, err = registry.Open(ctx, filepath.Join(dir, "registry")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.registry.Close() })
	if f.host, err = sandbox.Open(ctx, sandbox.Options{Dir: filepath.Join(dir, "sandbox"), Log: t.Logf}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.host.Close() })
	f.Engine, err = New(ctx, Options{
		Dir: filepath.Join(dir, "build"), Host: f.host, Registry: f.registry,
		Builder: &builder.Builder{
			Image: testImage(t, map[string]string{
				"io.buildpacks.lifecycle.version": "0.21.0",
				"io.buildpacks.lifecycle.apis":    `{"buildpack":{"deprecated":[],"supported":["0.11"]},"platform":{"deprecated":[],"supported":["0.7","0.14","0.15"]}}`,
			}),
			RunImage: testImage(t, map[string]string{"io.buildpacks.base.distro.name": "debian", "io.buildpacks.base.distro.version": "12"}),
			Layers:   []string{filepath.Join(root, "rootfs")},
			UID:      testUID, GID: testUID,
			Env: []string{"PATH=/bin", "CNB_USER_ID=1000", "CNB_GROUP_ID=1000", "IMAGE_SECRET=1"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.trash.Wait(); f.Close(); f.leftovers() })
	return f
}

// leftovers fails the test where a build left a directory or a mount behind.
func (f *fixture) leftovers() {
	if left, _ := filepath.Glob(filepath.Join(f.opts.Dir, "apps", "*", buildPrefix+"*")); len(left) > 0 {
		f.t.Errorf("left behind: %v", left)
	}
	if left, _ := os.ReadDir(filepath.Join(f.opts.Dir, "trash")); len(left) > 0 {
		f.t.Errorf("left in the trash: %v", left)
	}
	if b, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(b, []byte(f.opts.Dir)) {
		f.t.Errorf("mounts are left below %s", f.opts.Dir)
	}
}

// source is a tree in memory.
type source map[string]string

func (s source) Checkout(_ context.Context, dir string, uid, gid int) error {
	for name, content := range s {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, gid))
	})
}

func (s source) ReadFile(name string, _ int64) ([]byte, error) {
	if c, ok := s[name]; ok {
		return []byte(c), nil
	}
	return nil, fs.ErrNotExist
}

// script is an app with a build.sh and the end of it that makes a web process.
func script(lines ...string) source {
	return source{"build.sh": strings.Join(lines, "\n") + webProcess}
}

const webProcess = `
cat > $L/launch.toml <<END
[[processes]]
type = "web"
command = ["sh"]
args = ["-c", "exec server"]
default = true
[[processes]]
type = "worker"
command = ["work"]
END
`

// build runs a build and returns its log too.
func (f *fixture) build(ctx context.Context, s source, change func(*build.Request)) (*build.Result, string, error) {
	f.t.Helper()
	f.version++
	var log apptest.Buffer
	r := build.Request{App: "hello", Version: f.version, Commit: strings.Repeat("a", 40), Source: s, Log: app.NewLog(&log)}
	if change != nil {
		change(&r)
	}
	result, err := f.Build(ctx, r)
	return result, log.String(), err
}

func (f *fixture) mustBuild(s source) (*build.Result, string) {
	f.t.Helper()
	r, log, err := f.build(context.Background(), s, nil)
	if err != nil {
		f.t.Fatalf("%v\n%s", err, log)
	}
	return r, log
}

// fileInLayer looks a file up in a layer's tar file.
func fileInLayer(t *testing.T, l v1.Layer, name string) (string, bool) {
	t.Helper()
	content, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			return "", false
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimPrefix(h.Name, "/") != name {
			continue
		}
		if h.Typeflag == tar.TypeSymlink {
			return "-> " + h.Linkname, true
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), true
	}
}

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}
