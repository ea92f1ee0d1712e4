package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is the state directory of one cluster, as the host sees it. `down` removes it. The node sees it as /cluster.
type Dir string

// Settings are what a cluster was started with. The daemon and the node read them from the state directory.
type Settings struct {
	Bare         bool   // only etcd and the API server
	Programs     string // cached binaries: directory on the host
	Images       string // cached image archives: directory on the host
	Cgroup       string // name of the node's control group
	APIPort      int    // on the host's loopback: the API server
	IngressPort  int    // on the host's loopback: Kourier's gateway
	RegistryPort int    // on the host's loopback and in the node: the image registry
}

// cacheDir holds what may outlive a cluster: binaries, image archives.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "gitd-cluster"), nil
}

// stateDir says where the cluster's state is: $GITD_CLUSTER_DIR or a place in the cache.
func stateDir(bare bool) (Dir, error) {
	if dir := os.Getenv("GITD_CLUSTER_DIR"); dir != "" {
		dir, err := filepath.Abs(dir)
		return Dir(dir), err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	if bare {
		return Dir(filepath.Join(cache, "bare")), nil
	}
	return Dir(filepath.Join(cache, "run")), nil
}

func (d Dir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// lock keeps a second up or down of the same cluster out until the returned function is called.
func (d Dir) lock() (unlock func(), err error) {
	for {
		if err := os.MkdirAll(string(d), 0o755); err != nil {
			return nil, err
		}
		f, err := os.Open(string(d))
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, err
		}
		// Who held the lock may have removed the directory meanwhile.
		held, _ := f.Stat()
		if now, err := os.Stat(string(d)); err == nil && os.SameFile(held, now) {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
}

func (d Dir) settings() (s Settings, err error) {
	data, err := os.ReadFile(d.path("settings.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (d Dir) save(s Settings) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(d.path("settings.json"), string(data), 0o644)
}

// writeFile writes a file so that a reader sees the old content or the new.
func writeFile(name, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	temporary := name + ".new"
	if err := os.WriteFile(temporary, []byte(content), mode); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

// env is what tests and shells need to know of the cluster, as lines to source.
func (d Dir) env(s Settings) string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "export %s=%s\n", name, value) }
	line("GITD_CLUSTER_DIR", string(d))
	line("KUBECONFIG", d.path("kubeconfig"))
	line("GITD_CLUSTER_KUBECTL", filepath.Join(s.Programs, "kubectl"))
	if !s.Bare {
		line("GITD_CLUSTER_INGRESS", fmt.Sprintf("127.0.0.1:%d", s.IngressPort))
		line("GITD_CLUSTER_DOMAIN", domain)
		line("GITD_CLUSTER_REGISTRY", fmt.Sprintf("127.0.0.1:%d", s.RegistryPort))
		line("GITD_CLUSTER_REGISTRY_IN", fmt.Sprintf("%s:%d", nodeIP, s.RegistryPort))
	}
	return b.String()
}

// errDown says that no cluster runs in the directory.
var errDown = errors.New("no cluster is running")

// control sends a request to the node's manager and decodes the answer into out.
func (d Dir) control(ctx context.Context, method, path string, out any) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			// The path of a socket may have 107 bytes: a long directory is reached through its descriptor.
			f, err := os.Open(string(d))
			if err != nil {
				return nil, err
			}
			defer f.Close()
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/control.sock", f.Fd()))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://node"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errDown
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var message struct{ Error string }
		_ = json.NewDecoder(response.Body).Decode(&message)
		return errors.New(message.Error)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(out)
}
