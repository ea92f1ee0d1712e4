package pull

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var loopback = Options{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Most: 1 << 20}

// source is a registry with one image; change is made to its configuration. fetched counts the layers that were asked for.
func source(t *testing.T, layers int, change func(*v1.ConfigFile)) (reference string, img v1.Image, fetched *int) {
	t.Helper()
	fetched = new(int)
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			*fetched++
		}
		inner.ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	img = empty.Image
	for range layers {
		l, err := random.Layer(1000, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	if change != nil {
		change(c)
	}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	reference = strings.TrimPrefix(s.URL, "http://") + "/team/app:v1"
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return reference, img, fetched
}

func TestFetch(t *testing.T) {
	reference, img, asked := source(t, 3, nil)
	f, err := Find(t.Context(), Wanted{Reference: reference}, loopback)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := img.Digest()
	if f.Short != reference || f.Reference != reference+"@"+digest.String() {
		t.Errorf("%s, %s", f.Short, f.Reference)
	}
	got, err := f.Fetch(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := got.Digest(); err != nil || d != digest {
		t.Errorf("%s, not %s: %v", d, digest, err)
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != 3 {
		t.Fatal(len(layers), err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n == 0 {
			t.Error(n, err)
		}
		r.Close()
	}
	*asked = 0 // what the owner has is not fetched again
	if _, err := f.Fetch(t.Context(), t.TempDir(), img); err != nil || *asked != 0 {
		t.Errorf("%d layers were fetched again: %v", *asked, err)
	}
}

// The attack: an image whose configuration names the unpacked layer of another app, to be given its content, or to put another content in its place.
func TestAttack_LayerOfAnother(t *testing.T) {
	reference, img, _ := source(t, 1, func(c *v1.ConfigFile) { c.RootFS.DiffIDs[0].Hex = strings.Repeat("ab", 32) })
	f, err := Find(t.Context(), Wanted{Reference: reference}, loopback)
	if err != nil {
		t.Fatal(err)
	}
	for _, have := range []v1.Image{nil, img} {
		if have != nil { // its own layer, under its true name
			have = own(t, img)
		}
		_, err = f.Fetch(t.Context(), t.TempDir(), have)
		if app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "is not what its configuration says") {
			t.Errorf("%v", err)
		}
	}
}

// own is an image with the same layer and a true configuration.
func own(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	same, err := mutate.AppendLayers(empty.Image, layers[0])
	if err != nil {
		t.Fatal(err)
	}
	return same
}

func TestFind_Refused(t *testing.T) {
	reference, _, _ := source(t, 1, nil)
	other, _, _ := source(t, 1, func(c *v1.ConfigFile) { c.Architecture = "pdp11" })
	for _, tt := range []struct {
		reference string
		o         Options
		code      app.Code
		says      string
	}{
		{reference, Options{Most: 100, Allowed: loopback.Allowed}, app.CodeLimitExceeded, "more than 100 bytes together"},
		{reference, Options{Most: 1 << 20}, app.CodeForbidden, "may not connect to the registry 127.0.0.1"},
		{reference + "x", loopback, app.CodeNotFound, "has no such image"},
		{other, loopback, app.CodeInvalidInput, "is for linux/pdp11"},
		{"registry.example.com/a b", loopback, app.CodeInvalidInput, "is not the reference of an image"},
		{"UPPER", loopback, app.CodeInvalidInput, "is not the reference of an image"},
		{strings.Repeat("a", 600), loopback, app.CodeInvalidInput, "longer than 512"},
	} {
		_, err := Find(t.Context(), Wanted{Reference: tt.reference}, tt.o)
		if app.CodeOf(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("%s: %s %v", tt.reference, app.CodeOf(err), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, Wanted{Reference: reference}, loopback); err == nil {
		t.Error("it goes on when its caller has gone")
	}
}

// The attack: a small layer that unpacks to more than there is room for.
func TestAttack_LayerThatGrows(t *testing.T) {
	reference, _, _ := source(t, 2, nil)
	f, err := Find(t.Context(), Wanted{Reference: reference}, loopback)
	if err != nil {
		t.Fatal(err)
	}
	f.o.Most = 1500
	if _, err := f.Fetch(t.Context(), t.TempDir(), nil); app.CodeOf(err) != app.CodeLimitExceeded {
		t.Errorf("%v", err)
	}
}
