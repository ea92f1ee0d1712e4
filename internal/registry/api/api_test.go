package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // for handlers
)

// side is one of two registries that are asked the same.
type side struct {
	http.Handler
	upload string // where the last upload goes on
}

// step is a request. UPLOAD stands for where the last upload goes on, with a query for what more there is to ask.
type step struct {
	method, path, body string
	headers            []string
}

var secretState = regexp.MustCompile(`_state=[A-Za-z0-9_=%-]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// ask returns the whole answer as text, without what is random in it.
func (s *side) ask(t *testing.T, q step) string {
	t.Helper()
	r := httptest.NewRequest(q.method, strings.ReplaceAll(q.path, "UPLOAD", s.upload), strings.NewReader(q.body))
	for _, h := range q.headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	if r.Header.Get("Content-Range") != "" {
		r.Header.Set("Content-Length", fmt.Sprint(len(q.body))) // as a server has it
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := w.Result()
	if l := a.Header.Get("Location"); strings.Contains(l, "/uploads/") {
		s.upload = l
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	fmt.Fprintln(&text, a.Status)
	_ = a.Header.Write(&text)
	text.Write(body)
	return secretState.ReplaceAllString(text.String(), "RANDOM")
}

func sum(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// TestAsDistribution asks us and distribution's own handlers the same, byte for byte.
func TestAsDistribution(t *testing.T) {
	ours, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &configuration.Configuration{Storage: configuration.Storage{"filesystem": {"rootdirectory": t.TempDir()},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}}}}
	c.Log.AccessLog.Disabled, c.HTTP.RelativeURLs, c.HTTP.Secret = true, true, "secret"
	app := handlers.NewApp(context.Background(), c)
	t.Cleanup(func() { _ = app.Shutdown() })
	us, they := &side{Handler: ours}, &side{Handler: app}

	const (
		image  = "application/vnd.oci.image.manifest.v1+json"
		index  = "application/vnd.oci.image.index.v1+json"
		docker = "application/vnd.docker.distribution.manifest.v2+json"
		list   = "application/vnd.docker.distribution.manifest.list.v2+json"
	)
	descriptor := func(kind, content string) string {
		return fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q}`, kind, len(content), sum(content))
	}
	manifest := func(kind, config, layer string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, kind, config, layer)
	}
	config, layer, chunked := descriptor("application/vnd.oci.image.config.v1+json", "{}"), descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "a layer"), "in three pieces"
	own := manifest(image, config, layer)
	absent := manifest(image, config, descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "absent"))
	old := manifest(docker, descriptor("application/vnd.docker.container.image.v1+json", "{}"), descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", "a layer"))
	elsewhere := manifest(docker, descriptor("application/vnd.docker.container.image.v1+json", "{}"),
		strings.TrimSuffix(descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "x"), "}")+`,"urls":["http://a/b"]}`)
	platform := func(d, arch string) string {
		return strings.TrimSuffix(d, "}") + `,"platform":{"architecture":"` + arch + `","os":"linux"}}`
	}
	all := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, index, platform(descriptor(image, own), "amd64"))
	lists := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, list, platform(descriptor(docker, old), "amd64"))
	noList := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, list, platform(descriptor(docker, old), "arm64"))
	holes := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, index, platform(descriptor(image, absent), "amd64"))
	kind := func(k string) []string { return []string{"Content-Type: " + k} }
	accept := func(k ...string) []string { return []string{"Accept: " + strings.Join(k, ", ")} }
	piece := func(span string) []string {
		return []string{"Content-Type: application/octet-stream", "Content-Range: " + span}
	}
	const start, m = "/v2/a/b/blobs/uploads/", "/v2/a/b/manifests/"
	for i, q := range []step{
		{"GET", "/v2/", "", nil}, {"HEAD", "/v2/", "", nil},
		{"GET", "/v2/a/b/tags/list", "", nil}, {"HEAD", "/v2/a/b/tags/list", "", nil}, {"GET", m + "v1", "", nil}, {"GET", "/v2/a/b/blobs/" + sum("{}"), "", nil},
		// One piece, with the digest in the end.
		{"POST", start, "", nil}, {"PUT", "UPLOAD&digest=" + sum("{}"), "{}", nil}, {"GET", "/v2/a/b/blobs/" + sum("{}"), "", nil},
		{"POST", start, "", nil}, {"PUT", "UPLOAD&digest=" + sum("other"), "a layer", nil},
		{"POST", start, "", nil}, {"PUT", "UPLOAD", "a layer", nil}, {"PUT", "UPLOAD&digest=x", "a layer", nil}, {"PUT", "UPLOAD&digest=" + sum("a layer"), "a layer", nil},
		{"POST", start, "", nil}, {"PUT", "UPLOAD&digest=sha512:" + strings.Repeat("0", 128), "a layer", nil},
		// Pieces, some of them wrong.
		{"POST", start, "", nil}, {"PATCH", "UPLOAD", "in ", piece("0-2")}, {"PATCH", "UPLOAD", "three", piece("9-13")}, {"PATCH", "UPLOAD", "three ", piece("3-9")},
		{"PATCH", "UPLOAD", "three ", piece("x-9")}, {"PATCH", "UPLOAD", "three ", piece("3-x")}, {"PATCH", "UPLOAD", "three ", piece("3")}, {"PATCH", "UPLOAD", "three ", piece("8-3")},
		{"PATCH", "UPLOAD", "three ", kind("text/plain")}, {"PATCH", "UPLOAD", "three ", piece("3-8")}, {"GET", "UPLOAD", "", nil}, {"HEAD", "UPLOAD", "", nil},
		{"PUT", "UPLOAD&digest=" + sum(chunked), "pieces", piece("1-6")}, {"PUT", "UPLOAD&digest=" + sum(chunked), "pieces", piece("9-14")},
		{"GET", "/v2/a/b/blobs/" + sum(chunked), "", nil}, {"GET", "/v2/a/b/blobs/" + sum(chunked), "", []string{"Range: bytes=3-7"}},
		{"GET", "/v2/a/b/blobs/" + sum(chunked), "", []string{"Range: bytes=99-"}}, {"GET", "/v2/a/b/blobs/" + sum(chunked), "", []string{`If-None-Match: "` + sum(chunked) + `"`}},
		{"HEAD", "/v2/a/b/blobs/" + sum(chunked), "", nil},
		{"POST", start, "", nil}, {"PATCH", "UPLOAD", "streamed", nil}, {"DELETE", "UPLOAD", "", nil}, {"GET", "UPLOAD", "", nil}, {"DELETE", "UPLOAD", "", nil}, {"PATCH", "UPLOAD", "x", nil},
		{"POST", start, "", nil}, {"PATCH", start + "RANDOM?_state=x", "x", nil}, {"PATCH", start + "none?_state=" + strings.Repeat("A", 64), "x", nil}, {"GET", start + "none", "", nil}, {"GET", start + "~", "", nil},
		// Mounts.
		{"POST", "/v2/c/blobs/uploads/?from=a/b&mount=" + sum("{}"), "", nil}, {"POST", "/v2/c/blobs/uploads/?from=a/b&mount=" + sum("none"), "", nil},
		{"POST", "/v2/c/blobs/uploads/?from=A&mount=" + sum("{}"), "", nil}, {"POST", "/v2/c/blobs/uploads/?from=a/b&mount=x", "", nil}, {"GET", "/v2/c/blobs/" + sum("{}"), "", nil},
		{"GET", "/v2/c/blobs/sha256:short", "", nil}, {"GET", "/v2/c/blobs/sha512:" + strings.Repeat("0", 128), "", nil}, {"GET", "/v2/c/tags/list", "", nil},
		// Manifests.
		{"PUT", m + "v1", own, kind(image)}, {"PUT", m + sum(own), own, kind(image)}, {"PUT", m + sum("other"), own, kind(image)}, {"PUT", m + "v1", "{", kind(image)}, {"PUT", m + "v1", own, kind("text/plain")},
		{"PUT", m + "v1", own, kind(docker)}, {"PUT", m + "v2", absent, kind(image)}, {"PUT", m + "v2", elsewhere, kind(docker)}, {"PUT", m + "v2", holes, kind(index)}, {"PUT", m + "x:y", own, kind(image)},
		{"PUT", m + "v1", strings.Repeat(" ", maxManifest+1), kind(image)},
		{"PUT", m + "old", old, kind(docker)}, {"PUT", m + "all", all, kind(index)}, {"PUT", m + "lists", lists, kind(list)}, {"PUT", m + "arm", noList, kind(list)},
		{"GET", m + "v1", "", nil}, {"GET", m + "v1", "", accept(image)}, {"HEAD", m + "v1", "", accept("text/html;q=0.1", image+";q=0.5")}, {"GET", m + sum(own), "", accept(docker, image)}, {"GET", m + "none", "", accept(image)},
		{"GET", m + sum("none"), "", accept(image)}, {"GET", m + "x:y", "", nil}, {"GET", m + "v1", "", append(accept(image), "If-None-Match: "+sum(own))}, {"GET", m + "v1", "", append(accept(image), `If-None-Match: "`+sum(own)+`"`)},
		{"GET", m + "old", "", nil}, {"GET", m + "old", "", accept(docker)}, {"GET", m + "all", "", nil}, {"GET", m + "all", "", accept(index)}, {"GET", m + "lists", "", nil}, {"GET", m + "lists", "", accept(docker)},
		{"GET", m + "lists", "", accept(list)}, {"GET", m + sum(lists), "", nil}, {"GET", m + "arm", "", accept(docker)}, {"POST", "/v2/a/b/tags/list", "", nil},
		// Tags.
		{"GET", "/v2/a/b/tags/list", "", nil}, {"GET", "/v2/a/b/tags/list?n=2", "", nil}, {"GET", "/v2/a/b/tags/list?n=2&last=arm", "", nil}, {"GET", "/v2/a/b/tags/list?n=0", "", nil}, {"GET", "/v2/a/b/tags/list?n=99", "", nil},
		{"GET", "/v2/a/b/tags/list?n=-1", "", nil}, {"GET", "/v2/a/b/tags/list?n=x", "", nil}, {"GET", "/v2/a/b/tags/list?last=old", "", nil}, {"GET", "/v2/a/b/referrers/" + sum(own), "", nil}, {"GET", "/v3/", "", nil},
	} {
		if got, want := us.ask(t, q), they.ask(t, q); got != want {
			t.Errorf("%d: %s %.120s\n%s\ndistribution:\n%s", i, q.method, q.path, got, want)
		}
	}
}

// TestMethods: what distribution could be told to do, and we do not.
func TestMethods(t *testing.T) {
	a, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v2/a/manifests/v1": "405 GET, HEAD, PUT", "/v2/a/blobs/" + sum(""): "405 GET, HEAD", "/v2/a/blobs/uploads/": "405 POST", "/v2/a/tags/list": "405 GET",
		"/v2/a/manifests/.": "404 ", "/v2/_catalog": "404 ", "/v2": "404 ",
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, path, nil))
		if got := fmt.Sprint(w.Code, " ", w.Header().Get("Allow")); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
