package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func open(t *testing.T, dir string) *Registry {
	t.Helper()
	r, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	r.tidying.Wait()
	return r
}

func newImage(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(2000, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func reference(t *testing.T, r *Registry, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(r.Host() + "/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func push(t *testing.T, r *Registry, repository, tag string, img v1.Image) string {
	t.Helper()
	if err := remote.Write(reference(t, r, repository+":"+tag), img, remote.WithAuth(r.Credentials(repository))); err != nil {
		t.Fatal(err)
	}
	return digestOf(t, img)
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func layerDigest(t *testing.T, img v1.Image, n int) string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[n].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// same checks that the registry has the image whole, from the disk and over the wire.
func same(t *testing.T, r *Registry, repository string, want v1.Image) {
	t.Helper()
	digest := digestOf(t, want)
	disk, err := r.Image(repository, digest)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := remote.Image(reference(t, r, repository+"@"+digest), remote.WithAuth(r.Credentials(repository)))
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range []v1.Image{disk, wire} {
		if err := validate.Image(img); err != nil {
			t.Fatal(err)
		}
		if digestOf(t, img) != digest {
			t.Fatalf("got %s, want %s", digestOf(t, img), digest)
		}
	}
}

func TestPushAndPull(t *testing.T) {
	r := open(t, t.TempDir())
	img := newImage(t, 3)
	digest := push(t, r, "hello", "v1", img)
	same(t, r, "hello", img)
	if err := r.Sync("hello", digest); err != nil {
		t.Fatal(err)
	}
	tags, err := r.Tags("hello")
	if err != nil || len(tags) != 1 || tags["v1"] != digest {
		t.Fatalf("tags %v, %v", tags, err)
	}
	if _, err := r.Image("other", digest); !errors.Is(err, ErrNotFound) {
		t.Errorf("another repository has the image: %v", err)
	}
}

func TestRestartOnTheSameDirectory(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	img := newImage(t, 2)
	push(t, r, "hello", "v1", img)
	old := r.Credentials("hello")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	same(t, r, "hello", img)
	if _, err := remote.Head(reference(t, r, "hello:v1"), remote.WithAuth(old)); err == nil {
		t.Error("credentials of the process before still work")
	}
}

func TestCredentials(t *testing.T) {
	r := open(t, t.TempDir())
	img, other := newImage(t, 1), newImage(t, 1)
	if err := r.AddImage(context.Background(), RunImage, "latest", img); err != nil {
		t.Fatal(err)
	}
	push(t, r, "hello", "v1", img)
	push(t, r, "other", "v1", other)
	secret := layerDigest(t, other, 0)
	password := func(a authn.Authenticator) string {
		c, err := a.Authorization()
		if err != nil {
			t.Fatal(err)
		}
		return c.Password
	}(r.Credentials("hello"))
	for _, c := range []struct {
		what, method, path, user, password string
		want                               int
	}{
		{"the base", "GET", "/v2/", "hello", password, 200},
		{"own manifest", "GET", "/v2/hello/manifests/v1", "hello", password, 200},
		{"own tags", "GET", "/v2/hello/tags/list", "hello", password, 200},
		{"own upload", "POST", "/v2/hello/blobs/uploads/", "hello", password, 202},
		{"the run image", "GET", "/v2/gitd/run/manifests/latest", "hello", password, 200},
		{"a layer of the run image", "GET", "/v2/gitd/run/blobs/" + layerDigest(t, img, 0), "hello", password, 200},
		{"mount from the run image", "POST", "/v2/hello/blobs/uploads/?from=gitd/run&mount=" + layerDigest(t, img, 0), "hello", password, 201},
		{"mount from another", "POST", "/v2/hello/blobs/uploads/?from=other&mount=" + secret, "hello", password, 403},
		{"mount from two", "POST", "/v2/hello/blobs/uploads/?from=hello&from=other&mount=" + secret, "hello", password, 403},
		{"push over the run image", "POST", "/v2/gitd/run/blobs/uploads/", "hello", password, 403},
		{"manifest over the run image", "PUT", "/v2/gitd/run/manifests/latest", "hello", password, 403},
		{"another's manifest", "GET", "/v2/other/manifests/v1", "hello", password, 403},
		{"another's layer", "GET", "/v2/other/blobs/" + secret, "hello", password, 403},
		{"another's layer by own name", "GET", "/v2/hello/blobs/" + secret, "hello", password, 404},
		{"another's tags", "GET", "/v2/other/tags/list", "hello", password, 403},
		{"push to another", "POST", "/v2/other/blobs/uploads/", "hello", password, 403},
		{"below own name", "GET", "/v2/hello/world/manifests/v1", "hello", password, 403},
		{"the catalogue", "GET", "/v2/_catalog", "hello", password, 403},
		{"dots", "GET", "/v2/hello/../other/manifests/v1", "hello", password, 403},
		{"escaped", "GET", "/v2/hello/%2e%2e/other/manifests/v1", "hello", password, 403},
		{"escaped slash", "GET", "/v2/hello%2f..%2fother/manifests/v1", "hello", password, 403},
		{"no credentials", "GET", "/v2/", "", "", 401},
		{"no credentials, run image", "GET", "/v2/gitd/run/manifests/latest", "", "", 401},
		{"a wrong password", "GET", "/v2/hello/manifests/v1", "hello", password[1:] + "0", 401},
		{"another's name", "GET", "/v2/other/manifests/v1", "other", password, 401},
		{"an empty password", "GET", "/v2/hello/manifests/v1", "hello", "", 401},
		{"delete", "DELETE", "/v2/hello/manifests/" + digestOf(t, img), "hello", password, 405},
	} {
		t.Run(c.what, func(t *testing.T) {
			q, err := http.NewRequest(c.method, "http://"+r.Host()+c.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				q.SetBasicAuth(c.user, c.password)
			}
			q.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")
			a, err := http.DefaultTransport.RoundTrip(q)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			if a.StatusCode != c.want {
				b, _ := io.ReadAll(a.Body)
				t.Errorf("%s %s: %s, want %d: %s", c.method, c.path, a.Status, c.want, b)
			}
		})
	}
}

func TestMissingParts(t *testing.T) {
	img := newImage(t, 2)
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	for what, digest := range map[string]string{"manifest": digestOf(t, img), "configuration": config.String(), "layer": layerDigest(t, img, 1)} {
		t.Run(what, func(t *testing.T) {
			r := open(t, t.TempDir())
			push(t, r, "hello", "v1", img)
			if err := os.Remove(r.blob(digest[len("sha256:"):])); err != nil {
				t.Fatal(err)
			}
			_, err := r.Image("hello", digestOf(t, img))
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), what) {
				t.Errorf("got %v", err)
			}
			if tags, err := r.Repair("hello"); err != nil || len(tags) != 0 {
				t.Fatalf("tags %v, %v", tags, err)
			}
			push(t, r, "hello", "v1", img) // brings it back
			same(t, r, "hello", img)
		})
	}
	t.Run("cut short", func(t *testing.T) {
		r := open(t, t.TempDir())
		push(t, r, "hello", "v1", img)
		if err := os.Truncate(r.blob(layerDigest(t, img, 0)[len("sha256:"):]), 10); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Image("hello", digestOf(t, img)); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if err := r.AddImage(context.Background(), "hello", "v1", img); err != nil {
			t.Fatal(err)
		}
		same(t, r, "hello", img)
	})
}
