package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

// external is a registry that is not ours: distribution, with users.
type external struct {
	host    string
	handler http.Handler
}

type externalOptions struct {
	user, password string // "" for no users
	keep           bool   // refuse to delete
}

func newExternal(t *testing.T, o externalOptions) *external {
	t.Helper()
	c := &configuration.Configuration{}
	c.Storage = configuration.Storage{
		"filesystem":  {"rootdirectory": t.TempDir()},
		"delete":      {"enabled": !o.keep},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false, "age": "168h", "interval": "24h", "dryrun": false}},
	}
	c.Log.AccessLog.Disabled = true
	if o.user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(o.password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", o.user, hash), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Auth = configuration.Auth{"htpasswd": {"realm": "test", "path": file}}
	}
	logrus.SetOutput(io.Discard) // what distribution says
	h := handlers.NewApp(context.Background(), c)
	t.Cleanup(func() { _ = h.Shutdown() })
	e := &external{handler: h}
	e.host = serveOn(t, h, loopback)
	return e
}

// loopback is a port of this machine that nothing else uses.
const loopback = "127.0.0.1:0"

func serveOn(t *testing.T, h http.Handler, address string) (host string) {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(h)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// loginFile writes a docker config.json.
func loginFile(t *testing.T, host, user, password string) string {
	t.Helper()
	b, err := dockerConfig(host, authn.FromConfig(authn.AuthConfig{Username: user, Password: password}))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func openRemote(t *testing.T, o RemoteOptions) *Remote {
	t.Helper()
	r, err := OpenRemote(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestImages is what both registries have in common: the same test on each.
func TestImages(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		r, err := OpenWith(context.Background(), Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		testImages(t, r, r.Addr().String(), func(d time.Duration) { r.now = func() time.Time { return time.Now().Add(d) } })
	})
	t.Run("remote", func(t *testing.T) {
		e := newExternal(t, externalOptions{user: "gitd", password: "secret"})
		r := openRemote(t, RemoteOptions{Prefix: e.host + "/team", Config: loginFile(t, e.host, "gitd", "secret"), State: filepath.Join(t.TempDir(), "pushed.json")})
		if err := r.Check(context.Background()); err != nil {
			t.Fatal(err)
		}
		testImages(t, r, e.host+"/team", func(d time.Duration) { r.now = func() time.Time { return time.Now().Add(d) } })
	})
}

func testImages(t *testing.T, r Images, prefix string, later func(time.Duration)) {
	ctx := context.Background()
	run, first, second, failed := newImage(t, 1), newImage(t, 2), newImage(t, 2), newImage(t, 1)
	there := func(repository, digest string, want bool) {
		t.Helper()
		isThere(t, r, repository, digest, want)
	}
	if tags, err := r.Tags("hello"); err != nil || len(tags) != 0 {
		t.Fatalf("tags of a repository that is not there: %v, %v", tags, err)
	}
	there("hello", digestOf(t, first), false)

	// gitd puts images there itself ...
	if err := r.AddImage(ctx, RunImage, "latest", run); err != nil {
		t.Fatal(err)
	}
	if err := r.AddImage(ctx, "hello", "v1", first); err != nil {
		t.Fatal(err)
	}
	// ... and Pods do, with credentials for their repository. They read the run image first.
	login, err := r.PushConfig(prefix, "hello", "hello/cache")
	if err != nil {
		t.Fatal(err)
	}
	pod := authOf(t, login, prefix)
	if _, err := remote.Image(parse(t, prefix+"/"+RunImage+":latest"), remote.WithAuth(pod)); err != nil {
		t.Fatal(err)
	}
	pushAsPod(t, r, prefix, pod, second, failed)
	tags, err := r.Tags("hello")
	if err != nil || len(tags) != 3 || tags["v1"] != digestOf(t, first) || tags["v2"] != digestOf(t, second) {
		t.Fatalf("tags %v, %v", tags, err)
	}
	// Nodes pull with theirs.
	if login, err = r.PullConfig(prefix, "hello"); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(parse(t, prefix+"/hello@"+digestOf(t, second)), remote.WithAuth(authOf(t, login, prefix)))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Fatal(err)
	}
	there("hello", digestOf(t, second), true)
	there("other", digestOf(t, second), false)
	collectImages(t, r, later, run, first, second, failed)
	for _, bad := range []string{"", "../x", "A", "_layers", "a//b"} {
		if err := r.AddImage(ctx, bad, "v1", first); err == nil {
			t.Errorf("repository %q was taken", bad)
		}
	}
	if err := r.AddImage(ctx, "hello", "../v1", first); err == nil {
		t.Error("a tag with a path was taken")
	}
}

// pushAsPod pushes a release, one that failed, and a cache, as a build does.
func pushAsPod(t *testing.T, r Images, prefix string, pod authn.Authenticator, second, failed v1.Image) {
	t.Helper()
	for tag, img := range map[string]string{"hello:v2": "v2", "hello:v3": "v3", "hello/cache:latest": ""} {
		push := second
		if img == "v3" {
			push = failed
		}
		if err := remote.Write(parse(t, prefix+"/"+tag), push, remote.WithAuth(pod)); err != nil {
			t.Fatalf("%s: %v", tag, err)
		}
		if img != "" {
			if err := r.Pushed("hello", digestOf(t, push)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// collectImages collects what testImages has stored: first what is not needed, then everything.
func collectImages(t *testing.T, r Images, later func(time.Duration), run, first, second, failed v1.Image) {
	t.Helper()
	ctx := t.Context()
	there := func(repository, digest string, want bool) {
		t.Helper()
		isThere(t, r, repository, digest, want)
	}
	keep := map[string][]string{"hello": {digestOf(t, first), digestOf(t, second)}}
	if _, err := r.Collect(ctx, keeping(keep), time.Time{}); err != nil {
		t.Fatal(err)
	}
	there("hello", digestOf(t, failed), true) // young
	later(2 * grace)
	if _, err := r.Collect(ctx, keeping(keep), time.Time{}); err != nil {
		t.Fatal(err)
	}
	there("hello", digestOf(t, failed), false)
	there("hello/cache", digestOf(t, second), true)
	there("hello", digestOf(t, first), true)
	there("hello", digestOf(t, second), true)
	there(RunImage, digestOf(t, run), true)
	keep["hello"] = keep["hello"][1:]
	later(4 * grace)
	if _, err := r.Collect(ctx, keeping(keep), time.Time{}); err != nil {
		t.Fatal(err)
	}
	there("hello", digestOf(t, first), false)
	there("hello", digestOf(t, second), true)
	if err := r.DeleteRepository("hello"); err != nil {
		t.Fatal(err)
	}
	there("hello", digestOf(t, second), false)
	there("hello/cache", digestOf(t, second), true)
	if err := r.DeleteRepository("hello/cache"); err != nil {
		t.Fatal(err)
	}
	there("hello/cache", digestOf(t, second), false)
	there(RunImage, digestOf(t, run), true)
}

// isThere checks that an image is there whole, or is not found.
func isThere(t *testing.T, r Images, repository, digest string, want bool) {
	t.Helper()
	img, err := r.Image(repository, digest)
	switch {
	case want && err != nil:
		t.Errorf("%s@%s: %v", repository, digest, err)
	case want:
		if err := validate.Image(img); err != nil {
			t.Errorf("%s@%s: %v", repository, digest, err)
		}
	case !errors.Is(err, ErrNotFound):
		t.Errorf("%s@%s is there, or not found in another way: %v", repository, digest, err)
	}
}

func parse(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// authOf reads a docker config.json as clients do.
func authOf(t *testing.T, config []byte, prefix string) authn.Authenticator {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := configFile(file).Resolve(parse(t, prefix+"/hello").Context())
	if err != nil || a == authn.Anonymous {
		t.Fatalf("no credentials in %s: %v", config, err)
	}
	return a
}

func TestRegistryThatKeepsAll(t *testing.T) {
	e := newExternal(t, externalOptions{keep: true})
	state := filepath.Join(t.TempDir(), "pushed.json")
	var said bytes.Buffer
	o := RemoteOptions{Prefix: e.host, State: state, Log: func(f string, a ...any) { fmt.Fprintf(&said, f+"\n", a...) }}
	r := openRemote(t, o)
	img := newImage(t, 1)
	if err := r.AddImage(context.Background(), "hello", "v1", img); err != nil {
		t.Fatal(err)
	}
	r = openRemote(t, o) // remembers what is ours
	r.now = func() time.Time { return time.Now().Add(2 * grace) }
	for range 3 {
		if freed, err := r.Collect(context.Background(), keeping(nil), time.Time{}); err != nil || freed != 0 {
			t.Fatalf("freed %d, %v", freed, err)
		}
	}
	if tags, err := r.Tags("hello"); err != nil || len(tags) != 1 {
		t.Fatalf("tags %v, %v", tags, err)
	}
	if err := r.DeleteRepository("hello"); err != nil {
		t.Fatal(err)
	}
	if tags, err := r.Tags("hello"); err != nil || len(tags) != 0 { // the next app of this name does not see them
		t.Errorf("tags %v, %v", tags, err)
	}
	if err := remote.Write(parse(t, e.host+"/hello/cache:latest"), img); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteRepository("hello/cache"); err != nil {
		t.Fatal(err)
	}
	if tags, err := r.Tags("hello/cache"); err != nil || tags["latest"] == digestOf(t, img) {
		t.Errorf("the cache is still there: %v, %v", tags, err)
	}
	if n := strings.Count(said.String(), "refuses to delete"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
	if b, err := r.PullConfig(e.host, "hello"); b != nil || err != nil {
		t.Errorf("credentials for a registry that asks for none: %s, %v", b, err)
	}
}

func TestOthersImagesAreLeftAlone(t *testing.T) {
	e := newExternal(t, externalOptions{})
	r := openRemote(t, RemoteOptions{Prefix: e.host})
	img, own := newImage(t, 1), newImage(t, 1)
	if err := remote.Write(parse(t, e.host+"/hello:theirs"), img); err != nil {
		t.Fatal(err)
	}
	if err := r.AddImage(context.Background(), "hello", "v1", own); err != nil {
		t.Fatal(err)
	}
	r.now = func() time.Time { return time.Now().Add(2 * grace) }
	if _, err := r.Collect(context.Background(), keeping(nil), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Image("hello", digestOf(t, own)); !errors.Is(err, ErrNotFound) {
		t.Errorf("ours is still there: %v", err)
	}
	if _, err := r.Image("hello", digestOf(t, img)); err != nil {
		t.Errorf("theirs: %v", err)
	}
}

// TestSilentRegistry has one that takes questions and never answers.
func TestSilentRegistry(t *testing.T) {
	var deletes atomic.Int32
	over := make(chan struct{})
	host := serveOn(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/v2/" {
			return
		}
		if q.Method == http.MethodDelete {
			deletes.Add(1)
		}
		select {
		case <-over:
		case <-q.Context().Done():
		}
	}), loopback)
	t.Cleanup(func() { close(over) })
	r := openRemote(t, RemoteOptions{Prefix: host})
	for _, n := range []string{"1", "2", "3"} {
		if err := r.Pushed("hello", "sha256:"+strings.Repeat(n, 64)); err != nil {
			t.Fatal(err)
		}
	}
	r.now = func() time.Time { return time.Now().Add(2 * grace) }
	r.deletes = 100 * time.Millisecond
	if _, err := r.Collect(context.Background(), keeping(nil), time.Time{}); err == nil || deletes.Load() != 1 {
		t.Errorf("%d deletions, %v", deletes.Load(), err)
	}
	r.client = answerWithin(100 * time.Millisecond)
	began := time.Now()
	if _, err := r.Image("hello", "sha256:"+strings.Repeat("1", 64)); err == nil || time.Since(began) > askTime/2 {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}
