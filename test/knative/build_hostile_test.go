package knative_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/registry"
)

func lacks(s, want string) error {
	if !strings.Contains(s, want) {
		return fmt.Errorf("lacks %q:\n%s", want, s)
	}
	return nil
}

// withSecret is a registry that wants credentials of a known look.
type withSecret struct{ *registry.Remote }

const secretWord = "c2VjcmV0OnBhc3N3b3JkLW9mLXRoZS1yZWdpc3RyeQ=="

func (withSecret) PushConfig(string, ...string) ([]byte, error) {
	return []byte(`{"auths":{"registry.invalid":{"auth":"` + secretWord + `"}}}`), nil
}

func (withSecret) PullConfig(string, string) ([]byte, error) {
	return []byte(`{"auths":{"registry.invalid":{"auth":"` + secretWord + `"}}}`), nil
}

// TestBuildHostile is a build that looks for what is not its own. TestMain sets a secret in this process's environment.
func TestBuildHostile(t *testing.T) {
	t.Parallel()
	b := newBuilds(t, func(o *cluster.Options) { o.Images = withSecret{o.Images.(*registry.Remote)} })
	r, log := b.mustBuild(script(
		"reached() { echo REACHED: $*; }",
		"id; env",
		"ls -d /gitd-credentials 2>/dev/null && reached credentials",
		"ls -d /var/run/secrets/kubernetes.io 2>/dev/null && reached service account",
		"grep -rs "+secretWord[:20]+" / --include=config.json 2>/dev/null | grep -v build.sh && reached config.json",
		"cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -i -E 'docker_config|registry_auth=.*auths|aws_secret' && reached environment",
		"ls /proc | grep -E '^[0-9]+$' | while read p; do tr '\\0' ' ' < /proc/$p/cmdline 2>/dev/null; echo; done | grep -E 'gitd-pod [pe]|kubele[t]|container[d]|gitd serv[e]' && reached processes",
		"touch /platform/x 2>/dev/null && reached platform",
		"touch /cnb/lifecycle/lifecycle 2>/dev/null && reached lifecycle",
		"touch "+"/opt/gitd/bin/gitd-pod 2>/dev/null && reached program",
		"mount -t tmpfs x /mnt 2>/dev/null && reached mount",
		"grep -E 'CapEff:.*[1-9a-f]' /proc/self/status && reached capabilities",
		"grep -E 'NoNewPrivs:.*0' /proc/self/status && reached privileges",
		"grep -E 'Seccomp:.*0$' /proc/self/status && reached seccomp",
		"[ -e /run/containerd ] && reached containerd",
		// What is left behind for the exporter, which knows the credentials: links out of its sight, copied as links.
		"ln -s /gitd-credentials/config.json stolen; ln -s /gitd-credentials stolen.dir",
		"ln -s /proc/1/environ environ",
		"( sleep 1000 > /dev/null 2>&1 & ) ; echo tried"))
	if !strings.Contains(log, "tried") || !strings.Contains(log, "uid=1000") {
		t.Error("the script did not run")
	}
	if strings.Contains(log, "REACHED") || strings.Contains(log, secretWord) {
		t.Errorf("the build got out")
	}
	for _, name := range []string{"workspace/stolen", "workspace/environ"} {
		if got := fileInImage(t, b.images, b.app, r.Digest, name); !strings.HasPrefix(got, "-> ") {
			t.Errorf("%s in the image is %q, not the link", name, got)
		}
	}
	if where := inImage(t, b.images, b.app, r.Digest, secretWord); where != "" {
		t.Errorf("the credentials are in the image: %s", where)
	}
	// Files of the phases that are not what they should be.
	_, _, err := b.build(context.Background(), script("rm -f /layers/group.toml", "ln -s /gitd-credentials/config.json /layers/group.toml"), nil)
	apptest.WantError(t, err, app.CodeExportFailed)
	if strings.Contains(err.Error(), secretWord) {
		t.Error("the credentials are in the error")
	}
	b.noPods()
	// What would lead programs with credentials elsewhere: another run image, another proxy.
	proxy := map[string]string{}
	for _, n := range phase.Proxies {
		if !strings.EqualFold(n, "NO_PROXY") {
			proxy[n] = "http://127.0.0.1:9"
		}
	}
	_, log, err = b.build(context.Background(), script(
		"echo proxy: $https_proxy",
		"rm -f /layers/analyzed.toml",
		`printf '[run-image]\nreference = "registry.invalid/x:y"\n[image]\nreference = "registry.invalid/x:z"\n' > /layers/analyzed.toml`,
	), func(r *build.Request) { r.Env = proxy })
	if err != nil || !strings.Contains(log, "proxy: http://127.0.0.1:9") {
		t.Errorf("%v\n%s", err, log)
	}
	b.noPods()
}

// eachFile calls f for the files of an image until it returns false.
func eachFile(t *testing.T, images *registry.Remote, repository, digest string, f func(name string, h *tar.Header, r io.Reader) bool) {
	t.Helper()
	img, err := images.Image(repository, digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers[1:] { // the first is Debian's
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		in := tar.NewReader(r)
		for {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !f(strings.TrimPrefix(h.Name, "/"), h, in) {
				return
			}
		}
		r.Close()
	}
}

func fileInImage(t *testing.T, images *registry.Remote, repository, digest, name string) (content string) {
	eachFile(t, images, repository, digest, func(n string, h *tar.Header, r io.Reader) bool {
		if n != name {
			return true
		}
		if content = "-> " + h.Linkname; h.Typeflag == tar.TypeReg {
			b, _ := io.ReadAll(r)
			content = string(b)
		}
		return false
	})
	return content
}

func inImage(t *testing.T, images *registry.Remote, repository, digest, word string) (where string) {
	eachFile(t, images, repository, digest, func(n string, h *tar.Header, r io.Reader) bool {
		if n == "workspace/build.sh" || h.Size > 10<<20 {
			return true
		}
		if b, _ := io.ReadAll(r); bytes.Contains(b, []byte(word)) {
			where = n
		}
		return where == ""
	})
	return where
}
