package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// archive makes a tar of entries. Content is in the header's Linkname of regular files.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func image(t testing.TB, tars ...[]byte) v1.Image {
	t.Helper()
	img := empty.Image
	for _, b := range tars {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Linkname: content} }
func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}

func TestLayers(t *testing.T) {
	when := time.Unix(1_600_000_000, 0)
	img := image(t,
		archive(t,
			tar.Header{Name: "./", Typeflag: tar.TypeDir},
			tar.Header{Name: "etc/", Typeflag: tar.TypeDir, ModTime: when},
			file("etc/a", "one"), file("etc/b", "two"),
			tar.Header{Name: "app", Typeflag: tar.TypeDir, Uid: 1000, Gid: 1001, Mode: 0o700},
			tar.Header{Name: "app/x", Linkname: "x", Uid: 1000, Gid: 1001, Mode: 0o4750, ModTime: when},
			tar.Header{Name: "app/y", Typeflag: tar.TypeLink, Linkname: "/app/x"},
			link("lib", "usr/lib"), tar.Header{Name: "usr/lib/", Typeflag: tar.TypeDir}, file("lib/z", "z"),
			file("/deep/er/file", "d"),
			tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8},
			file("twice", "1"), file("twice", "2"),
		),
		archive(t, file("etc/.wh.a", ""), file("app/.wh..wh..opq", ""), file("lib/.wh.none", "")),
	)
	dir := t.TempDir()
	l := OpenLayers(filepath.Join(dir, "layers"))
	dirs, err := l.Ensure(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) != 2 {
		t.Fatal(dirs)
	}
	checkUnpacked(t, dirs, when)
	again, err := OpenLayers(filepath.Join(dir, "other"), filepath.Join(dir, "layers")).Ensure(t.Context(), img)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(dirs) {
		t.Errorf("shared layers are not used: %v, %v", again, err)
	}

	// In a container: what the upper layer hides is not seen.
	h := openHost(t)
	out, _ := run(t, h, Spec{Layers: append(dirs, probe), Args: []string{"/probe", "list", "/etc"}})
	if strings.Contains("\n"+out, "\na\n") || !strings.Contains("\n"+out, "\nb\n") {
		t.Errorf("/etc: %q", out)
	}
	if out, _ = run(t, h, Spec{Layers: append(dirs, probe), Args: []string{"/probe", "list", "/app"}}); out != "" {
		t.Errorf("/app: %q", out)
	}

	if err := l.Prune(l.Mark(), []v1.Image{img}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		t.Error(err)
	}
	if err := l.Prune(l.Mark(), nil); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(filepath.Join(dir, "layers"))
	if len(left) != 1 { // the lock
		t.Errorf("left after pruning: %v", left)
	}
}

// checkUnpacked checks the folders of the two layers of TestLayers.
func checkUnpacked(t *testing.T, dirs []string, when time.Time) {
	t.Helper()
	in := func(i int, name string) string { return filepath.Join(dirs[i], name) }
	for name, want := range map[string]string{"etc/a": "one", "app/y": "x", "usr/lib/z": "z", "deep/er/file": "d", "twice": "2"} {
		if b, err := os.ReadFile(in(0, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(in(0, "app/x"), &st); err != nil || st.Uid != 1000 || st.Gid != 1001 || st.Mode&0o7777 != 0o4750 || st.Mtim.Sec != when.Unix() || st.Nlink != 2 {
		t.Errorf("app/x: %+v, %v", st, err)
	}
	if i, err := os.Stat(in(0, "etc")); err != nil || !i.ModTime().Equal(when) {
		t.Errorf("etc: %v, %v", i.ModTime(), err)
	}
	if _, err := os.Lstat(in(0, "dev/sda")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a device was made: %v", err)
	}
	if err := unix.Lstat(in(1, "etc/a"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("whiteout: %+v, %v", st, err)
	}
	b := make([]byte, 8)
	if n, err := unix.Getxattr(in(1, "app"), "trusted.overlay.opaque", b); err != nil || string(b[:n]) != "y" {
		t.Errorf("opaque: %q, %v", b[:max(n, 0)], err)
	}
}

func TestHostileLayers(t *testing.T) {
	outside := t.TempDir()
	deep := strings.Repeat("d/", 2500)
	for name, entries := range map[string][]tar.Header{
		"dot dot":                    {file("../evil", "x")},
		"dot dot in the middle":      {file("a/../../evil", "x")},
		"only dot dot":               {file("..", "x")},
		"absolute dot dot":           {file("/../evil", "x")},
		"link out, then through it":  {link("out", outside), file("out/evil", "x")},
		"relative link out":          {link("out", strings.Repeat("../", 40)+outside), file("out/evil", "x")},
		"chain of links":             {link("a", "/"), link("b", "a/.."), file("b"+outside+"/evil", "x")},
		"file over a link out":       {link("evil", outside+"/evil"), file("evil", "x")},
		"directory over a link out":  {link("d", outside), tar.Header{Name: "d/", Typeflag: tar.TypeDir}, file("d/evil", "x")},
		"directory's mode by a link": {link("d", outside), tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o777}},
		"hard link to the outside":   {tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../../../../../../../etc/passwd"}},
		"absolute hard link":         {tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"hard link by a link":        {link("e", "/etc"), tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "e/passwd"}},
		"magic link":                 {link("p", "/proc/self/root"), file("p"+outside+"/evil", "x")},
		"whiteout of the parent":     {file("a/.wh...", "")},
		"whiteout of itself":         {file("a/.wh..", "")},
		"opaque through a link":      {link("o", outside), file("o/.wh..wh..opq", "")},
		"whiteout through a link":    {link("o", outside), file("o/.wh.evil", "")},
		"too deep":                   {file(deep+"x", "x")},
		"circle":                     {link("a", "b"), link("b", "a"), file("a/x", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(outside, 0o700); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			dirs, err := OpenLayers(filepath.Join(dir, "l", "layers")).Ensure(t.Context(), image(t, archive(t, entries...)))
			t.Log(err)
			if e, _ := os.ReadDir(outside); len(e) > 0 {
				t.Fatalf("written outside: %v", e)
			}
			for _, d := range []string{dir, filepath.Join(dir, "l")} {
				if _, err := os.Lstat(filepath.Join(d, "evil")); err == nil {
					t.Fatal("written outside")
				}
			}
			if i, _ := os.Stat(outside); i.Mode().Perm() != 0o700 {
				t.Fatal("mode changed outside")
			}
			if n, _ := unix.Getxattr(outside, "trusted.overlay.opaque", nil); n > 0 {
				t.Fatal("attribute set outside")
			}
			if strings.Contains(name, "hard link") && err == nil {
				t.Fatalf("linked: %v", dirs)
			}
			if err != nil {
				if e, _ := os.ReadDir(filepath.Join(dir, "l", "layers")); len(e) != 1 { // the lock
					t.Fatalf("left after the error: %v", e)
				}
			}
		})
	}
}

func TestLayerLimits(t *testing.T) {
	var many []tar.Header
	for i := range 50 {
		many = append(many, file(fmt.Sprint("f", i), ""))
	}
	l := OpenLayers(t.TempDir())
	l.MaxEntries, l.MaxBytes = 49, 1<<20
	if _, err := l.Ensure(t.Context(), image(t, archive(t, many...))); app.CodeOf(err) != app.CodeLimitExceeded {
		t.Error(err)
	}
	if _, err := l.Ensure(t.Context(), image(t, archive(t, file("big", strings.Repeat("x", 1<<20))))); app.CodeOf(err) != app.CodeLimitExceeded {
		t.Error(err)
	}
	if _, err := l.Ensure(t.Context(), image(t, archive(t, many[:40]...))); err != nil {
		t.Error(err)
	}
}

// liar is a layer whose diff ID is another's.
type liar struct {
	v1.Layer
	cut int
}

func (l liar) DiffID() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}, nil
}

func (l liar) Compressed() (io.ReadCloser, error) {
	r, err := l.Layer.Compressed()
	if err != nil || l.cut == 0 {
		return r, err
	}
	b, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(b[:len(b)-l.cut])), err
}

func TestDamagedLayer(t *testing.T) {
	for _, cut := range []int{0, 8, 100} {
		layers, _ := image(t, archive(t, file("a", strings.Repeat("a few words ", 1000)))).Layers()
		img, err := mutate.AppendLayers(empty.Image, liar{layers[0], cut})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := OpenLayers(dir).Ensure(t.Context(), img); err == nil || cut == 0 && app.CodeOf(err) != app.CodeImageMissing {
			t.Errorf("cut %d: %v", cut, err)
		}
		if e, _ := os.ReadDir(dir); len(e) != 1 { // the lock
			t.Errorf("left: %v", e)
		}
	}
}

func TestLayersAtOnce(t *testing.T) {
	var all []tar.Header
	for i := range 500 {
		all = append(all, file(fmt.Sprintf("d%d/f%d", i%7, i), strings.Repeat("x", i)))
	}
	one, two := archive(t, all...), archive(t, all[:300]...)
	images := []v1.Image{image(t, one, two), image(t, two), image(t, two, one)}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, unpackingPrefix+strings.Repeat("0", 64)), 0o700); err != nil { // of a dead process
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			l := OpenLayers(dir)
			dirs, err := l.Ensure(context.Background(), images[i%len(images)])
			if err != nil {
				t.Error(err)
			}
			for _, d := range dirs {
				if e, err := os.ReadDir(filepath.Join(d, "d0")); err != nil || len(e) < 40 {
					t.Errorf("half a layer: %d, %v", len(e), err)
				}
			}
			if i%4 == 0 {
				if err := l.Prune(l.Mark(), images); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if e, _ := os.ReadDir(dir); len(e) != 3 { // two layers and the lock
		t.Errorf("%v", e)
	}
}

func TestManyLayers(t *testing.T) {
	var tars [][]byte
	for i := range 150 {
		tars = append(tars, archive(t, file(fmt.Sprintf("n/%d", i), fmt.Sprint(i)), file("last", fmt.Sprint(i))))
	}
	dirs, err := OpenLayers(t.TempDir()).Ensure(t.Context(), image(t, tars...))
	if err != nil {
		t.Fatal(err)
	}
	h := openHost(t)
	out, _ := run(t, h, Spec{Layers: append([]string{probe}, dirs...), Args: []string{"/probe", "list", "/n"}})
	if n := strings.Count(out, "\n"); n != 150 {
		t.Errorf("%d files", n)
	}
	if out, _ = run(t, h, Spec{Layers: append([]string{probe}, dirs...), Args: []string{"/probe", "read", "/last"}}); out != "149" {
		t.Errorf("last %q", out)
	}
}

// A layer that is taken from its tar is there for Ensure, which waits for it. What is not what its name says does not come to be.
func TestTake(t *testing.T) {
	one, two := archive(t, file("one", "1")), archive(t, file("two", "2"))
	img := image(t, one, two)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	ids := config.RootFS.DiffIDs
	l := OpenLayers(t.TempDir())
	r, w := io.Pipe()
	taken := make(chan error)
	go func() { taken <- l.Take(t.Context(), ids[0], r) }()
	if _, err := w.Write(one[:512]); err != nil {
		t.Fatal(err)
	}
	ensured := make(chan error)
	go func() {
		_, err := l.Ensure(t.Context(), img)
		ensured <- err
	}()
	select {
	case err := <-ensured:
		t.Fatalf("Ensure returned before the layer was whole: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := w.Write(one[512:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := errors.Join(<-taken, <-ensured); err != nil {
		t.Fatal(err)
	}
	if err := l.Take(t.Context(), ids[0], io.NopCloser(iotest.ErrReader(errors.New("read again")))); err != nil {
		t.Error(err)
	}
	other := OpenLayers(t.TempDir())
	if err := other.Take(t.Context(), ids[1], io.NopCloser(bytes.NewReader(one))); err == nil {
		t.Error("a layer has another content than its name says")
	}
	if err := other.Take(t.Context(), v1.Hash{Algorithm: "sha256", Hex: "../x"}, io.NopCloser(bytes.NewReader(one))); err == nil {
		t.Error("a layer has a name that leads elsewhere")
	}
	if left, err := other.list(); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
