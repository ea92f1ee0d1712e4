package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func openNetwork(t *testing.T, o Options) *Registry {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Listen = "127.0.0.1:0"
	r, err := OpenWith(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	r.tidying.Wait()
	return r
}

func basic(t *testing.T, a authn.Authenticator) (user, password string) {
	t.Helper()
	c, err := a.Authorization()
	if err != nil {
		t.Fatal(err)
	}
	return c.Username, c.Password
}

func TestNetworkRights(t *testing.T) {
	r := openNetwork(t, Options{})
	img, other := newImage(t, 1), newImage(t, 1)
	for repository, i := range map[string]v1.Image{RunImage: img, "hello": img, "other": other} {
		if err := r.AddImage(context.Background(), repository, "v1", i); err != nil {
			t.Fatal(err)
		}
	}
	puller, pull := basic(t, r.PullCredentials("hello"))
	system, pullSystem := basic(t, r.PullCredentials(""))
	all, pullAll := basic(t, r.PullCredentials("*"))
	pod, push := basic(t, r.Credentials("hello", "hello/cache"))
	layer, secret := layerDigest(t, img, 0), layerDigest(t, other, 0)
	for _, c := range []struct {
		what, method, path, user, password string
		want                               int
	}{
		{"a node: the base", "GET", "/v2/", puller, pull, 200},
		{"a node: its app's manifest", "GET", "/v2/hello/manifests/v1", puller, pull, 200},
		{"a node: its app's layer", "GET", "/v2/hello/blobs/" + layer, puller, pull, 200},
		{"a node: another app's manifest", "GET", "/v2/other/manifests/v1", puller, pull, 403},
		{"a node: another app's layer", "GET", "/v2/other/blobs/" + secret, puller, pull, 403},
		{"a node: the run image", "HEAD", "/v2/gitd/run/manifests/v1", puller, pull, 200},
		{"a node for builds: the run image", "HEAD", "/v2/gitd/run/manifests/v1", system, pullSystem, 200},
		{"a node for builds: an app's manifest", "GET", "/v2/hello/manifests/v1", system, pullSystem, 403},
		{"a node for builds, as another app's", "GET", "/v2/hello/manifests/v1", puller, pullSystem, 401},
		{"a node for one namespace: a manifest", "GET", "/v2/other/manifests/v1", all, pullAll, 200},
		{"a node for one namespace: an upload", "POST", "/v2/other/blobs/uploads/", all, pullAll, 403},
		{"a node: tags", "GET", "/v2/hello/tags/list", puller, pull, 200},
		{"a node: tags of another", "GET", "/v2/other/tags/list", puller, pull, 403},
		{"a node: referrers", "GET", "/v2/hello/referrers/" + digestOf(t, img), puller, pull, 404},
		{"a node: referrers of another", "GET", "/v2/other/referrers/" + digestOf(t, other), puller, pull, 403},
		{"a node: an upload under way", "GET", "/v2/hello/blobs/uploads/x", puller, pull, 404},
		{"a node: another kind of digest", "GET", "/v2/hello/blobs/sha512:" + strings.Repeat("0", 128), puller, pull, 404},
		{"a node: what is no form", "GET", "/v2/hello/a/b/c/d", puller, pull, 404},
		{"a node: what is no form, of another", "GET", "/v2/other/a/b/c/d", puller, pull, 403},
		{"a node: the catalogue", "GET", "/v2/_catalog", puller, pull, 403},
		{"a node: an upload", "POST", "/v2/hello/blobs/uploads/", puller, pull, 403},
		{"a node: a manifest to write", "PUT", "/v2/hello/manifests/v1", puller, pull, 403},
		{"a node: delete", "DELETE", "/v2/hello/manifests/" + digestOf(t, img), puller, pull, 405},
		{"a Pod: its manifest", "GET", "/v2/hello/manifests/v1", pod, push, 200},
		{"a Pod: its upload", "POST", "/v2/hello/blobs/uploads/", pod, push, 202},
		{"a Pod: an upload to the cache", "POST", "/v2/hello/cache/blobs/uploads/", pod, push, 202},
		{"a Pod: a mount into the cache", "POST", "/v2/hello/cache/blobs/uploads/?from=hello&mount=" + layer, pod, push, 201},
		{"a Pod: a mount from another", "POST", "/v2/hello/blobs/uploads/?from=other&mount=" + secret, pod, push, 403},
		{"a Pod: another's manifest", "GET", "/v2/other/manifests/v1", pod, push, 403},
		{"a Pod: another's upload", "POST", "/v2/other/blobs/uploads/", pod, push, 403},
		{"a Pod: below its own", "POST", "/v2/hello/more/blobs/uploads/", pod, push, 403},
		{"a Pod: over the run image", "PUT", "/v2/gitd/run/manifests/v1", pod, push, 403},
		{"a Pod: its list as a name", "POST", "/v2/hello,hello/cache/blobs/uploads/", pod, push, 403},
		{"a Pod: delete", "DELETE", "/v2/hello/manifests/" + digestOf(t, img), pod, push, 405},
		{"a Pod: delete a layer", "DELETE", "/v2/hello/blobs/" + layer, pod, push, 405},
		{"a Pod: referrers", "GET", "/v2/hello/referrers/" + digestOf(t, img), pod, push, 404},
		{"a Pod: referrers below its own", "GET", "/v2/hello/more/referrers/" + digestOf(t, img), pod, push, 403},
		{"a Pod: referrers of the run image", "GET", "/v2/gitd/run/referrers/" + digestOf(t, img), pod, push, 404},
		{"a Pod: another kind of digest", "HEAD", "/v2/hello/blobs/sha512:" + strings.Repeat("0", 128), pod, push, 404},
		{"a Pod: a digest of no kind", "GET", "/v2/hello/blobs/x", pod, push, 404},
		{"a Pod: an escaped path", "GET", "/v2/hello/manifests%2Fv1", pod, push, 404},
		{"a Pod: an escaped path to another", "GET", "/v2/other%2Fmanifests/v1", pod, push, 403},
		{"a Pod: an upload with another kind of digest", "POST", "/v2/hello/blobs/uploads/?digest=sha512:" + strings.Repeat("0", 128), pod, push, 400},
		{"a Pod: a method of no form", "PATCH", "/v2/hello/manifests/v1", pod, push, 405},
		{"a Pod: to write the base", "POST", "/v2/", pod, push, 405},
		{"a Pod: the catalogue", "GET", "/v2/_catalog", pod, push, 403},
		{"more rights than were given", "GET", "/v2/other/manifests/v1", "hello,other", push, 401},
		{"the node's name with a Pod's password", "GET", "/v2/other/manifests/v1", puller, push, 401},
		{"a Pod's name with the node's password", "GET", "/v2/hello/manifests/v1", "hello", pull, 401},
		{"a very long name", "GET", "/v2/", strings.Repeat("a", 5000), push, 401},
		{"no credentials", "GET", "/v2/", "", "", 401},
		{"no credentials, an upload", "POST", "/v2/hello/blobs/uploads/", "", "", 401},
		{"two readings", "GET", "/v2/hello/manifests/blobs/uploads/x", pod, push, 403},
		{"an empty element", "GET", "/v2//hello/manifests/v1", pod, push, 403},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got, body := ask(t, r, c.method, c.path, c.user, c.password, nil); got != c.want {
				t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, got, c.want, body)
			}
		})
	}
}

func TestMountByForm(t *testing.T) {
	r := openNetwork(t, Options{})
	other := newImage(t, 1)
	if err := r.AddImage(context.Background(), "other", "v1", other); err != nil {
		t.Fatal(err)
	}
	user, password := basic(t, r.Credentials("hello"))
	layer := layerDigest(t, other, 0)
	for kind, body := range map[string]string{
		"application/x-www-form-urlencoded":                "from=other&mount=" + layer,
		"APPLICATION/x-www-form-urlencoded ; charset=a; =": "from=other&mount=" + layer,
		"multipart/form-data; boundary=X": "--X\r\nContent-Disposition: form-data; name=\"from\"\r\n\r\nother\r\n" +
			"--X\r\nContent-Disposition: form-data; name=\"mount\"\r\n\r\n" + layer + "\r\n--X--\r\n",
	} {
		q, err := http.NewRequest("POST", "http://"+r.Addr().String()+"/v2/hello/blobs/uploads/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.SetBasicAuth(user, password)
		q.Header.Set("Content-Type", kind)
		a, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", kind, a.Status)
		}
	}
}

func ask(t *testing.T, r *Registry, method, path, user, password string, body io.Reader) (int, string) {
	t.Helper()
	q, err := http.NewRequest(method, "http://"+r.Addr().String()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		q.SetBasicAuth(user, password)
	}
	q.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return a.StatusCode, string(b)
}

func TestNodesPullAfterARestart(t *testing.T) {
	dir := t.TempDir()
	img := newImage(t, 1)
	r := openNetwork(t, Options{Dir: dir})
	if err := r.AddImage(context.Background(), "hello", "v1", img); err != nil {
		t.Fatal(err)
	}
	node, pod := r.PullCredentials("hello"), r.Credentials("hello")
	if info, err := os.Stat(filepath.Join(dir, pullSecretFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key: %v, %v", info, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openNetwork(t, Options{Dir: dir})
	ref := parse(t, r.Addr().String()+"/hello@"+digestOf(t, img))
	if _, err := remote.Image(ref, remote.WithAuth(node)); err != nil {
		t.Error(err)
	}
	if _, err := remote.Image(ref, remote.WithAuth(pod)); err == nil {
		t.Error("the credentials of a Pod outlived the process")
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	first := writeCertificate(t, cert, key, 1)
	r := openNetwork(t, Options{CertFile: cert, KeyFile: key})
	get := func(roots *x509.CertPool) error {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		defer transport.CloseIdleConnections()
		q, _ := http.NewRequest("GET", "https://"+r.Addr().String()+"/v2/", nil)
		user, password := basic(t, r.PullCredentials(""))
		q.SetBasicAuth(user, password)
		a, err := transport.RoundTrip(q)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		if a.StatusCode != 200 {
			return fmt.Errorf("%s", a.Status)
		}
		return nil
	}
	if err := get(first); err != nil {
		t.Fatal(err)
	}
	second := writeCertificate(t, cert, key, 2)
	if err := get(second); err != nil {
		t.Errorf("the renewed certificate: %v", err)
	}
	if err := get(first); err == nil {
		t.Error("the old certificate is still in use")
	}
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(second); err != nil {
		t.Errorf("while a new one is written: %v", err)
	}
	if _, err := OpenWith(context.Background(), Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key}); err == nil {
		t.Error("a broken certificate was taken")
	}
}

func writeCertificate(t *testing.T, cert, key string, serial int64) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Duration(serial)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := OpenWith(context.Background(), Options{Dir: t.TempDir(), Listen: l.Addr().String()}); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("got %v", err)
	}
}
