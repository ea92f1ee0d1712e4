package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

type entry struct {
	name, content, link string
	kind                byte
	mode                int64
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		if e.mode == 0 {
			e.mode = 0o644
		}
		if err := w.WriteHeader(&tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// take receives an archive into volumes of its own, and returns what is in them and beside them.
func take(t testing.TB, b []byte) (found string, started bool, err error) {
	t.Helper()
	top := t.TempDir()
	dirs := map[string]string{}
	for name := range volumes {
		dirs[name] = filepath.Join(top, name)
		if err := os.Mkdir(dirs[name], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err = receive(bytes.NewReader(b), dirs, func() { started = true })
	var all []string
	walkErr := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprintf("%s %s", info.Mode(), path[len(top)+1:]))
		return nil
	})
	if walkErr != nil {
		t.Fatal(walkErr)
	}
	sort.Strings(all)
	return strings.Join(all, ", "), started, err
}

func TestReceive(t *testing.T) {
	start, end := entry{name: wire.StartEntry}, entry{name: wire.EndEntry}
	good := archive(t, entry{name: wire.CredentialsEntry, content: "{}"}, entry{name: wire.ProxyEntry + "P", content: "2"}, entry{name: wire.EnvEntry + "A", content: "1"}, start,
		entry{name: "workspace/dir", kind: tar.TypeDir, mode: 0o755}, entry{name: "workspace/dir/run", content: "x", mode: 0o755},
		entry{name: "workspace/out", kind: tar.TypeSymlink, link: "/etc"}, end)
	found, started, err := take(t, good)
	const want = "-rw-r--r-- credentials/config.json, -rw-r--r-- credentials/env/P, -rw-r--r-- platform/env/A, -rwxr-xr-x workspace/dir/run, Lrwxrwxrwx workspace/out"
	if err != nil || !started || found != want {
		t.Errorf("%v, %v, got  %s\nwant %s", err, started, found, want)
	}
	for what, b := range map[string][]byte{
		"cut short":                good[:len(good)-2048],
		"nothing":                  nil,
		"no end":                   archive(t, start, entry{name: "workspace/a"}),
		"no start":                 archive(t, end),
		"out of the tree":          archive(t, start, entry{name: "workspace/../../x"}, end),
		"an absolute name":         archive(t, start, entry{name: "/etc/x"}, end),
		"through a link":           archive(t, start, entry{name: "workspace/l", kind: tar.TypeSymlink, link: "/tmp"}, entry{name: "workspace/l/x"}, end),
		"through a relative link":  archive(t, start, entry{name: "workspace/l", kind: tar.TypeSymlink, link: ".."}, entry{name: "workspace/l/x"}, end),
		"over a file":              archive(t, start, entry{name: "workspace/a"}, entry{name: "workspace/a"}, end),
		"over a link":              archive(t, start, entry{name: "workspace/a", kind: tar.TypeSymlink, link: "b"}, entry{name: "workspace/a"}, end),
		"a device":                 archive(t, start, entry{name: "workspace/a", kind: tar.TypeChar}, end),
		"a hard link":              archive(t, start, entry{name: "workspace/a", kind: tar.TypeLink, link: "/etc/passwd"}, end),
		"source before the start":  archive(t, entry{name: "workspace/a"}, start, end),
		"platform after the start": archive(t, start, entry{name: "platform/env/A"}, end),
		"a link in the platform":   archive(t, entry{name: "platform/env/A", kind: tar.TypeSymlink, link: "/etc"}, start, end),
		"another folder":           archive(t, entry{name: "layers/a"}, start, end),
	} {
		found, _, err := take(t, b)
		if err == nil {
			t.Errorf("%s was taken: %s", what, found)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(archive(f, entry{name: wire.StartEntry}, entry{name: "workspace/a", content: "x"}, entry{name: "workspace/l", kind: tar.TypeSymlink, link: ".."}, entry{name: "workspace/l/b"}, entry{name: wire.EndEntry}))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, _, _ := take(t, b)
		for _, name := range strings.Split(found, ", ") {
			if _, path, ok := strings.Cut(name, " "); ok && !strings.Contains(path, "/") {
				t.Errorf("%s is beside the volumes", name)
			}
		}
	})
}

func TestRegistryAuth(t *testing.T) {
	got, err := registryAuth([]byte(`{"auths":{"a":{"auth":"eDp5"},"b":{"username":"x","password":"y"},"c":{"identitytoken":"t"},"d":{"registrytoken":"r"},"e":{}}}`))
	if want := `{"a":"Basic eDp5","b":"Basic eDp5","c":"X-Identity t","d":"Bearer r"}`; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if _, err := registryAuth([]byte(`{"auths":{"a":{"auth":"secret"`)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestReason(t *testing.T) {
	output := "\x1b[31mone\x1b[0m\n\x1b[31;1mERROR: \x1b[0mfailed to export: bad\nERROR: more\nlast\n"
	if got := reason(output, "x"); got != "failed to export: bad" {
		t.Errorf("got %q", got)
	}
	if got := reason("", "exit status 1"); got != "exit status 1" {
		t.Errorf("got %q", got)
	}
}

func TestPlainCache(t *testing.T) {
	lookup := func(host string) ([]net.IP, error) {
		switch host {
		case "registry.gitd":
			return []net.IP{net.ParseIP("::1"), net.ParseIP("10.1.2.3")}, nil
		case "public.example":
			return []net.IP{net.ParseIP("203.0.113.1")}, nil
		}
		return nil, errors.New("no such host")
	}
	for _, c := range []struct{ cache, insecure, want, auth string }{
		{"registry.gitd:5000/a/cache:latest", "registry.gitd:5000", "10.1.2.3:5000/a/cache:latest", `{"10.1.2.3:5000":"Basic x","registry.gitd:5000":"Basic x"}`},
		{"registry.gitd/a/cache:latest", "registry.gitd", "10.1.2.3:80/a/cache:latest", ""},
		{"10.0.0.1:5000/a/cache:latest", "10.0.0.1:5000", "10.0.0.1:5000/a/cache:latest", ""},
		{"localhost:5000/a/cache:latest", "localhost:5000", "localhost:5000/a/cache:latest", ""},
		{"registry.example/a/cache:latest", "", "registry.example/a/cache:latest", ""},
		{"public.example/a/cache:latest", "public.example", "", ""},
		{"gone.example/a/cache:latest", "gone.example", "", ""},
		{"", "registry.gitd:5000", "", ""},
	} {
		job := wire.Job{Cache: c.cache, Insecure: c.insecure}
		const auth = `{"registry.gitd:5000":"Basic x"}`
		got := plainCache(&job, auth, lookup)
		if c.auth == "" {
			c.auth = auth
		}
		if job.Cache != c.want || got != c.auth {
			t.Errorf("%s: %s with %s, want %s with %s", c.cache, job.Cache, got, c.want, c.auth)
		}
	}
}

func TestKeepAnalyzed(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := keepAnalyzed(from, to); err == nil {
		t.Error("kept what is not there")
	}
	name := filepath.Join(from, analyzedFile)
	for _, content := range []string{"run-image", "of the app"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if content == "run-image" {
			if err := keepAnalyzed(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(to, analyzedFile)); err != nil || string(b) != "run-image" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRegistryEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "of the image")
	t.Setenv("all_proxy", "of the image")
	t.Setenv("LANG", "C")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "https_proxy"), []byte("of gitd"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := strings.Join(registryEnvironment(wire.Job{}, dir), "\n") + "\n"
	if strings.Contains(env, "of the image") || !strings.Contains(env, "https_proxy=of gitd\n") || !strings.Contains(env, "LANG=C\n") {
		t.Error(env)
	}
}
