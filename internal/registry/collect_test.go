package registry

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// later lets a registry's images grow old.
func later(r *Registry) { r.now = func() time.Time { return time.Now().Add(2 * grace) } }

func sign(t *testing.T, r *Registry, img v1.Image) (subject name.Digest, signature v1.Image) {
	t.Helper()
	subject = reference(t, r, "hello@"+digestOf(t, img)).(name.Digest)
	desc, err := remote.Head(subject, remote.WithAuth(r.Credentials("hello")))
	if err != nil {
		t.Fatal(err)
	}
	signature = mutate.Subject(mutate.ConfigMediaType(newImage(t, 1), "application/vnd.example.signature"), *desc).(v1.Image)
	digest, err := signature.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference(t, r, "hello@"+digest.String()), signature, remote.WithAuth(r.Credentials("hello"))); err != nil {
		t.Fatal(err)
	}
	return subject, signature
}

// Clients put what refers to an image, such as its signature, under a tag where a registry says that it has no API for that. It stays as long as the image.
func TestReferrers(t *testing.T) {
	r := open(t, t.TempDir())
	img := newImage(t, 1)
	push(t, r, "hello", "v1", img)
	subject, signature := sign(t, r, img)
	find := func(want int) {
		t.Helper()
		index, err := remote.Referrers(subject, remote.WithAuth(r.Credentials("hello")))
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil || len(m.Manifests) != want {
			t.Fatalf("%d referrers, %v; want %d", len(m.Manifests), err, want)
		}
		if want > 0 && m.Manifests[0].Digest.String() != digestOf(t, signature) {
			t.Errorf("referrer %s", m.Manifests[0].Digest)
		}
	}
	find(1)
	later(r)
	if _, err := r.Collect(t.Context(), keeping(map[string][]string{"hello": {digestOf(t, img)}}), time.Time{}); err != nil {
		t.Fatal(err)
	}
	find(1)
	same(t, r, "hello", signature)
	if err := r.CollectRepository(t.Context(), "hello", nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Image("hello", digestOf(t, signature)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the signature of an image that is gone: %v", err)
	}
}

// What an index names stays with it.
func TestCollect_Index(t *testing.T) {
	r := open(t, t.TempDir())
	one, two := newImage(t, 1), newImage(t, 1)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: one}, mutate.IndexAddendum{Add: two})
	if err := remote.WriteIndex(reference(t, r, "hello:v1"), index, remote.WithAuth(r.Credentials("hello"))); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	later(r)
	if _, err := r.Collect(t.Context(), keeping(map[string][]string{"hello": {digest.String()}}), time.Time{}); err != nil {
		t.Fatal(err)
	}
	same(t, r, "hello", one)
	same(t, r, "hello", two)
}

// One repository is looked through without the others; its blobs wait for the next whole collection.
func TestCollectRepository(t *testing.T) {
	r := open(t, t.TempDir())
	old, kept, other := newImage(t, 1), newImage(t, 1), newImage(t, 1)
	push(t, r, "hello", "v1", old)
	push(t, r, "hello", "v2", kept)
	push(t, r, "hello/cache", "latest", old)
	push(t, r, "other", "v1", other)
	later(r)
	if err := r.CollectRepository(t.Context(), "hello", []string{digestOf(t, kept)}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := r.CollectRepository(t.Context(), "none", nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	same(t, r, "hello", kept)
	same(t, r, "hello/cache", old)
	same(t, r, "other", other)
	if _, err := r.Image("hello", digestOf(t, old)); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unneeded image: %v", err)
	}
}

// A build that began before the last hour keeps what it has put there.
func TestCollect_Since(t *testing.T) {
	r := open(t, t.TempDir())
	began := time.Now().Add(-time.Minute)
	img := newImage(t, 1)
	push(t, r, "hello", "v1", img)
	later(r)
	if _, err := r.Collect(t.Context(), keeping(nil), began); err != nil {
		t.Fatal(err)
	}
	same(t, r, "hello", img)
}

// While a collection is under way, and after it has found that nothing refers to some blobs, an image of just these blobs is pushed.
func TestCollect_PushInTheMiddle(t *testing.T) {
	r := open(t, t.TempDir())
	img := newImage(t, 2)
	push(t, r, "hello", "v1", img)
	later(r)
	raw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	needed := func(repository string) ([]string, error) {
		if asked++; repository != "zoo" {
			return nil, nil
		}
		q, err := http.NewRequest("PUT", "http://"+r.Host()+"/v2/hello/manifests/v2", strings.NewReader(string(raw)))
		if err != nil {
			return nil, err
		}
		q.Header.Set("Content-Type", string(types.DockerManifestSchema2))
		auth, _ := r.Credentials("hello").Authorization()
		q.SetBasicAuth(auth.Username, auth.Password)
		a, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			return nil, err
		}
		a.Body.Close()
		if a.StatusCode != http.StatusCreated && a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusNotFound {
			t.Errorf("the push in the middle: %s", a.Status)
		}
		return nil, nil
	}
	push(t, r, "zoo", "v1", newImage(t, 1)) // looked through last
	for _, l := range []int{0, 1} {         // the repository keeps its links: another process has just asked for them
		h := layerDigest(t, img, l)[len("sha256:"):]
		dir, _ := r.repository("hello")
		if err := os.Chtimes(layerLink(dir, h), r.now(), r.now()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Collect(t.Context(), needed, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if tags, err := r.Tags("hello"); err != nil || asked != 2 {
		t.Fatal(tags, err, asked)
	} else if tags["v2"] != "" { // taken: then it is there whole
		same(t, r, "hello", img)
	}
}

// What a process was writing when it was killed goes with the next process, whatever its age.
func TestCollect_Leftovers(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	img := newImage(t, 1)
	push(t, r, "hello", "v1", img)
	repository, _ := r.repository("hello")
	layer := layerDigest(t, img, 0)[len("sha256:"):]
	leftovers := []string{
		filepath.Join(repository, "_uploads/0e1c/data"),
		filepath.Join(repository, "_manifests/tags/v1/current/.new-123"),
		filepath.Join(repository, "_layers/sha256", layer, "link.0e1c.tmp"),
		filepath.Join(filepath.Dir(r.blob(layer)), ".new-123"),
	}
	for _, f := range leftovers {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o700), os.WriteFile(f, []byte("half"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	collect := func() {
		t.Helper()
		if _, err := r.Collect(t.Context(), keeping(map[string][]string{"hello": {digestOf(t, img)}}), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	for _, f := range leftovers {
		if _, err := os.Lstat(f); err != nil {
			t.Errorf("what this process is writing is gone: %v", err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	if _, err := os.Lstat(leftovers[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an upload to an earlier process is there after the start (%v)", err)
	}
	collect()
	for _, f := range leftovers {
		if _, err := os.Lstat(f); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", strings.TrimPrefix(f, dir), err)
		}
	}
	same(t, r, "hello", img)
}

// keeping needs these digests of these repositories.
func keeping(all map[string][]string) Needed {
	return func(repository string) ([]string, error) { return all[repository], nil }
}

func TestCollect(t *testing.T) {
	ctx := context.Background()
	r := open(t, t.TempDir())
	run, old, kept, rest, pinned := newImage(t, 1), newImage(t, 2), newImage(t, 2), newImage(t, 1), newImage(t, 1)
	layers, _ := old.Layers()
	kept, err := mutate.AppendLayers(kept, layers[0]) // shared between an image that goes and one that stays
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddImage(ctx, RunImage, "latest", run); err != nil {
		t.Fatal(err)
	}
	push(t, r, "hello", "v1", old)
	push(t, r, "hello", "v2", kept)
	push(t, r, "gone", "v1", rest)
	push(t, r, "held", "v1", pinned)
	keep := map[string][]string{"hello": {digestOf(t, kept)}}

	if freed, err := r.Collect(ctx, keeping(keep), time.Time{}); err != nil || freed != 0 {
		t.Fatalf("freed %d, %v", freed, err)
	}
	same(t, r, "hello", old) // all are young
	same(t, r, "gone", rest)

	release := r.Hold("held", digestOf(t, pinned))
	r.now = func() time.Time { return time.Now().Add(2 * grace) }
	freed, err := r.Collect(ctx, keeping(keep), time.Time{})
	if err != nil || freed < 4000 {
		t.Fatalf("freed %d, %v", freed, err)
	}
	same(t, r, "hello", kept)
	same(t, r, "held", pinned)
	same(t, r, RunImage, run)
	areGone(t, r, old, rest)

	release()
	if _, err := r.Collect(ctx, keeping(keep), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Image("held", digestOf(t, pinned)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the released image is still there: %v", err)
	}
	push(t, r, "gone", "v1", rest) // the registry takes it again: no link to a blob was left
	same(t, r, "gone", rest)

	if err := r.DeleteRepository("hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Image("hello", digestOf(t, kept)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted repository: %v", err)
	}
	same(t, r, RunImage, run)
}

// areGone checks that the unneeded images of TestCollect are gone, with their tags, repositories and layers.
func areGone(t *testing.T, r *Registry, old, rest v1.Image) {
	t.Helper()
	for repository, img := range map[string]v1.Image{"hello": old, "gone": rest} {
		if _, err := r.Image(repository, digestOf(t, img)); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", repository, err)
		}
	}
	if tags, _ := r.Tags("hello"); len(tags) != 1 || tags["v2"] == "" {
		t.Errorf("tags %v", tags)
	}
	if _, err := os.Lstat(filepath.Join(r.repositories(), "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the repository's directory is still there: %v", err)
	}
	if _, err := os.Lstat(r.blob(layerDigest(t, old, 1)[len("sha256:"):])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer that nothing needs is still there: %v", err)
	}
}

func TestCollectBesidePushes(t *testing.T) {
	r := open(t, t.TempDir())
	done := make(chan struct{})
	collected := make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				collected <- nil
				return
			default:
			}
			if _, err := r.Collect(context.Background(), keeping(nil), time.Time{}); err != nil {
				collected <- err
				return
			}
		}
	}()
	for range 10 {
		img := newImage(t, 2)
		push(t, r, "hello", "v1", img)
		same(t, r, "hello", img)
	}
	close(done)
	if err := <-collected; err != nil {
		t.Fatal(err)
	}
}

func TestCollectOfOurOwnImages(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	builder, run := newImage(t, 1), newImage(t, 1)
	r := open(t, dir)
	if err := r.AddImage(ctx, System+"builder", "0123", builder); err != nil {
		t.Fatal(err)
	}
	if err := r.AddImage(ctx, RunImage, "latest", run); err != nil {
		t.Fatal(err)
	}
	later := func(r *Registry, d time.Duration) {
		r.now = func() time.Time { return time.Now().Add(d) }
		if _, err := r.Collect(ctx, keeping(nil), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	later(r, 10*systemGrace) // in use by this process
	same(t, r, System+"builder", builder)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	later(r, systemGrace-time.Hour)
	same(t, r, System+"builder", builder)
	later(r, systemGrace+time.Hour)
	if _, err := r.Image(System+"builder", digestOf(t, builder)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a builder that is no longer used: %v", err)
	}
	same(t, r, RunImage, run)
}
