package cache

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/layer"
	"github.com/gitd-io/gitd/internal/sandbox"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

const day = 24 * time.Hour

// pruning is a cache with entries that were used at different times.
type pruning struct {
	*Cache
	t   *testing.T
	now time.Time
}

func newPruning(t *testing.T) *pruning {
	c, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &pruning{c, t, time.Now()}
}

func (p *pruning) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// layer makes a layer with one file.
func (p *pruning) layer(file string) v1.Layer {
	p.t.Helper()
	l, err := layer.InMemory(func(w *layer.Writer) error {
		if file == "" {
			return nil
		}
		return w.Bytes(file, 0o644, []byte(file))
	}, tarball.WithMediaType(types.OCILayer))
	p.check(err)
	return l
}

func (p *pruning) image(isBuilder bool, layers ...v1.Layer) v1.Image {
	p.t.Helper()
	img, err := mutate.AppendLayers(EmptyImage(runtime.GOARCH), layers...)
	p.check(err)
	if isBuilder {
		config, err := img.ConfigFile()
		p.check(err)
		config = config.DeepCopy()
		config.Config.Labels = map[string]string{MetadataLabel: "{}"}
		img, err = mutate.ConfigFile(img, config)
		p.check(err)
	}
	return img
}

// put makes an entry that was used last some time ago, with its layers unpacked, and returns its folder.
func (p *pruning) put(link string, ago time.Duration, images map[string]v1.Image) string {
	p.t.Helper()
	dir, err := p.Temp("test")
	p.check(err)
	l, err := NewLayout(dir)
	p.check(err)
	digest := ""
	for name, img := range images {
		p.check(l.AppendImage(img, layout.WithAnnotations(map[string]string{RefName: name})))
		_, err := sandbox.OpenLayers(p.LayersDir()).Ensure(p.t.Context(), img)
		p.check(err)
		d, err := img.Digest()
		p.check(err)
		digest = max(digest, d.String())
	}
	dir, err = p.Put(dir, link, digest)
	p.check(err)
	p.age(dir, ago)
	return dir
}

func (p *pruning) age(file string, ago time.Duration) {
	p.t.Helper()
	p.check(os.Chtimes(file, p.now.Add(-ago), p.now.Add(-ago)))
}

func (p *pruning) unpacked(l v1.Layer) string {
	p.t.Helper()
	id, err := l.DiffID()
	p.check(err)
	return filepath.Join(p.LayersDir(), id.Hex)
}

// use locks a folder as another process does that uses it.
func (p *pruning) use(dir string) {
	p.t.Helper()
	f, err := os.Open(dir)
	p.check(err)
	p.t.Cleanup(func() { f.Close() })
	p.check(flock(f, unix.LOCK_SH))
}

func (p *pruning) run() {
	p.t.Helper()
	unlock, err := p.Lock(p.t.Context())
	p.check(err)
	defer unlock()
	p.check(p.prune(p.now))
}

func (p *pruning) want(present bool, what, file string) {
	p.t.Helper()
	if _, err := os.Lstat(file); (err == nil) != present {
		p.t.Errorf("%s: %v", what, err)
	}
}

func TestPrune(t *testing.T) {
	p := newPruning(t)
	base, user := p.layer("base"), p.layer("user")
	oldBase, own, shared, busy, foreignRun, empty := p.layer("old base"), p.layer("own"), p.layer("shared"), p.layer("busy"), p.layer("foreign run"), p.layer("")
	old := p.put("builder/old", 30*day, map[string]v1.Image{
		RunName: p.image(false, oldBase), BuilderName: p.image(true, oldBase, own, shared, busy, foreignRun, empty)})
	usedLayer := p.layer("used")
	used := p.put("builder/used", 20*day, map[string]v1.Image{RunName: p.image(false, base), BuilderName: p.image(true, base, usedLayer)})
	p.put("builder/forced", 15*day, map[string]v1.Image{RunName: p.image(false, base), BuilderName: p.image(true, base, p.layer("forced"))})
	p.check(os.Remove(filepath.Join(p.Dir, "builder/forced"))) // as it is after another was made for the same recipe
	week := p.put("builder/week", 6*day, map[string]v1.Image{RunName: p.image(false, base), BuilderName: p.image(true, base, p.layer("week"))})
	second := p.put("builder/second", 5*day, map[string]v1.Image{RunName: p.image(false, base), BuilderName: p.image(true, base, shared)})
	newest := p.put("builder/newest", 0, map[string]v1.Image{RunName: p.image(false, base, user), BuilderName: p.image(true, base, user)})
	p.use(used)
	p.use(p.unpacked(busy))
	p.check(p.MarkRun(p.image(false, foreignRun)))

	stage := func(name string, ago time.Duration, link bool) string {
		dir := filepath.Join(p.Dir, "stage", name)
		p.check(os.Mkdir(dir, 0o755))
		file := filepath.Join(dir, "layer.tar.gz")
		p.check(os.WriteFile(file, nil, 0o644))
		if link {
			p.check(os.Link(file, filepath.Join(newest, "blobs", name)))
		}
		p.age(dir, ago)
		return dir
	}
	oldStage, linkedStage, newStage := stage("old", 8*day, false), stage("linked", 8*day, true), stage("new", day, false)
	pulledLayer, pulledBase := p.layer("pulled"), p.layer("pulled base")
	p.put("image/tag", 30*day, map[string]v1.Image{"tag": p.image(true, pulledLayer)})
	superseded, err := filepath.Glob(filepath.Join(p.Dir, "image/tag-*"))
	p.check(err)
	current := p.put("image/tag", 29*day, map[string]v1.Image{"tag": p.image(true, p.layer("moved"))})
	baseImage := p.put("image/base", 30*day, map[string]v1.Image{"base": p.image(false, pulledBase)})
	p.check(os.Remove(filepath.Join(p.Dir, "image/base")))
	memory := filepath.Join(p.Dir, digestPrefix+"0")
	p.check(os.WriteFile(memory, nil, 0o644))
	p.age(memory, 8*day)

	p.run()

	p.want(false, "a builder that is not in use", old)
	p.want(false, "its link", filepath.Join(p.Dir, "builder/old"))
	p.want(false, "its own layer", p.unpacked(own))
	p.want(true, "a layer that a newer builder has too", p.unpacked(shared))
	p.want(true, "a layer that a process uses", p.unpacked(busy))
	p.want(true, "a layer of its run image", p.unpacked(oldBase))
	p.want(true, "a layer that another builder's run image has", p.unpacked(foreignRun))
	p.want(true, "the empty layer", p.unpacked(empty))
	p.want(true, "a builder that a process uses", used)
	p.want(true, "its link", filepath.Join(p.Dir, "builder/used"))
	p.want(true, "its layer", p.unpacked(usedLayer))
	p.want(true, "a builder used within the week", week)
	p.want(true, "the second newest builder", second)
	p.want(true, "the newest builder", newest)
	p.want(true, "the run image of today", p.unpacked(user))
	if left, err := filepath.Glob(filepath.Join(p.Dir, "builder/forced-*")); err != nil || len(left) > 0 {
		t.Errorf("a builder without a link: %q, %v", left, err)
	}
	p.want(false, "a stage that is not in use", oldStage)
	p.want(true, "a stage that a builder is linked with", linkedStage)
	p.want(true, "a new stage", newStage)
	p.want(false, "an image that its tag has left", superseded[0])
	p.want(false, "its layer", p.unpacked(pulledLayer))
	p.want(true, "an image that its tag stands for", current)
	p.want(false, "a base image without a link", baseImage)
	p.want(true, "its layer, on which apps may run", p.unpacked(pulledBase))
	p.want(false, "a digest of long ago", memory)

	p.age(newest, 100*day)
	p.age(second, 100*day)
	p.age(week, 100*day)
	p.run()
	p.want(true, "the newest builder of long ago", newest)
	p.want(true, "a builder that a process uses", used)
	if left, err := os.ReadDir(filepath.Join(p.Dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

// TestEnsureHolds: what Ensure returned is not pruned while this process lives.
func TestEnsureHolds(t *testing.T) {
	p := newPruning(t)
	own := p.layer("own")
	dir := p.put("builder/old", 0, map[string]v1.Image{RunName: p.image(false, p.layer("run")), BuilderName: p.image(true, own)})
	_, _, err := p.Entry("builder/old")
	p.check(err)
	info, err := os.Stat(dir)
	p.check(err)
	if info.ModTime().Before(p.now.Add(-time.Minute)) {
		t.Errorf("its use was not noted: %s", info.ModTime())
	}
	for _, n := range []string{"a", "b"} {
		p.put("builder/"+n, 0, map[string]v1.Image{RunName: p.image(false, p.layer("run")), BuilderName: p.image(true, p.layer(n))})
	}
	p.age(dir, 30*day)
	p.run()
	p.want(true, "the builder", dir)
	p.want(true, "its layer", p.unpacked(own))
}

// TestHoldLayers: a layer that is pruned between unpacking and locking is unpacked again.
func TestHoldLayers(t *testing.T) {
	p := newPruning(t)
	img := p.image(true, p.layer("one"), p.layer("two"))
	calls := 0
	dirs, err := p.HoldLayers(func() ([]string, error) {
		dirs, err := sandbox.OpenLayers(p.LayersDir()).Ensure(t.Context(), img)
		if calls++; calls == 1 && err == nil {
			err = os.RemoveAll(dirs[1])
		}
		return dirs, err
	})
	p.check(err)
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
	for _, d := range dirs {
		if removed, err := p.remove(d, func() error { return nil }); err != nil || removed {
			t.Errorf("a layer that is held was removed: %v", err)
		}
	}
}
