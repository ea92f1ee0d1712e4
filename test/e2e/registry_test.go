package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitd-io/gitd/internal/deploy/contract"
)

// cmdRegistry starts a registry that is not gitd's, $IMAGES, with images in it that gitd did not build. What is under private/ is shown to the user ci
// with the password secret; of broken, the layers are refused.
func cmdRegistry(w *world, ts *testscript.TestScript, _ []string) (output, error) {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	plain := contract.Image(w.tb)
	layers, err := plain.Layers()
	ts.Check(err)
	digest, err := layers[0].Digest()
	ts.Check(err)
	size, err := layers[0].Size()
	ts.Check(err)
	layer, open := digest.Hex, true // while the images are put there
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		user, password, _ := q.BasicAuth()
		switch {
		case open:
		case strings.HasPrefix(q.URL.Path, "/v2/private/") && (user != "ci" || password != "secret"):
			out.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			out.WriteHeader(http.StatusUnauthorized)
			return
		case strings.HasPrefix(q.URL.Path, "/v2/broken/blobs/") && strings.HasSuffix(q.URL.Path, layer):
			_, _ = out.Write(make([]byte, size))
			return
		}
		inner.ServeHTTP(out, q)
	}))
	ts.Defer(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ts.Setenv("IMAGES", host)
	for reference, c := range map[string]v1.Config{
		"plain:1":        {Env: []string{"VERSION=one"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
		"plain:2":        {Env: []string{"VERSION=two"}, User: "app"},
		"plain:fixed":    {Env: []string{"VERSION=fixed", "MODE=elsewhere"}},
		"plain:exits":    {Env: []string{"VERSION=exits", "MODE=exit"}},
		"packed:1":       {Env: []string{"VERSION=packed"}, Labels: map[string]string{"io.buildpacks.lifecycle.metadata": `{"runImage":{"topLayer":"sha256:1","reference":"packs.test/run@sha256:1"}}`}},
		"private/app:1":  {Env: []string{"VERSION=private"}},
		"broken:1":       {Env: []string{"VERSION=broken"}},
		"nothing:1":      {},
		"elsewhere:plan": {},
	} {
		c.WorkingDir = "/app"
		if reference != "nothing:1" {
			c.Entrypoint = []string{"/app/testapp"}
		}
		img, err := mutate.Config(plain, c)
		ts.Check(err)
		ref, err := name.ParseReference(host + "/" + reference)
		ts.Check(err)
		if reference != "elsewhere:plan" {
			ts.Check(remote.Write(ref, img))
			continue
		}
		index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "windows", Architecture: runtime.GOARCH}}})
		ts.Check(remote.WriteIndex(ref, index))
		ref, err = name.ParseReference(host + "/many:1")
		ts.Check(err)
		ts.Check(remote.WriteIndex(ref, mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})))
	}
	open = false
	return output{stdout: host + "\n"}, nil
}
