package rust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// distServer is where the Rust project publishes toolchains; RUSTUP_DIST_SERVER names a mirror, as it does for rustup.
const distServer = "https://static.rust-lang.org"

const (
	maxManifest  = 32 << 20
	maxComponent = 2 << 30
)

// errNoChannel says that the server answers and has no such channel.
var errNoChannel = errors.New("there is no such channel")

// dist fetches toolchains of the Rust project: what a channel's manifest lists, each file checked against the digest there.
type dist struct {
	server string
	client *http.Client
	env    kit.Env
	out    io.Writer
}

func newDist(env kit.Env, out io.Writer) dist {
	server := strings.TrimRight(env["RUSTUP_DIST_SERVER"], "/")
	if server == "" {
		server = distServer
	}
	return dist{server: server, client: &http.Client{Transport: fetch.Transport(env)}, env: env, out: out}
}

// channelManifest is the part of a channel's manifest that is read.
type channelManifest struct {
	Pkg map[string]struct {
		Version string
		Target  map[string]struct {
			Available bool
			URL       string `toml:"xz_url"`
			Hash      string `toml:"xz_hash"`
		}
	}
}

// version is the version of the compiler, "1.85.1" or "1.99.0-nightly".
func (m channelManifest) version() string {
	v, _, _ := strings.Cut(m.Pkg["rustc"].Version, " ")
	return v
}

// manifest reads the manifest of a channel.
func (d dist) manifest(channel string) (channelManifest, error) {
	var m channelManifest
	dir := d.server + "/dist/"
	// nightly-2026-01-31 is in a folder of its date.
	if kind, date, ok := strings.Cut(channel, "-"); ok && strings.Count(date, "-") == 2 {
		dir, channel = dir+date+"/", kind
	}
	url := dir + "channel-rust-" + channel + ".toml"
	data, err := d.get(url, maxManifest)
	if err != nil {
		return m, err
	}
	sum, err := d.get(url+".sha256", 1<<10)
	if err != nil {
		return m, err
	}
	if want, _, _ := strings.Cut(string(sum), " "); !strings.EqualFold(strings.TrimSpace(want), digest(data)) {
		return m, fmt.Errorf("the manifest of Rust %s does not have the digest that the server says", channel)
	}
	if err := toml.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("the manifest of Rust %s cannot be read: %w", channel, err)
	}
	return m, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// get reads a small file.
func (d dist) get(url string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := d.open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", url, most)
	}
	return data, err
}

func (d dist) open(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp, nil
	case http.StatusNotFound:
		err = errNoChannel
	default:
		err = fmt.Errorf("%s answers %s", url, resp.Status)
	}
	resp.Body.Close()
	return nil, err
}

// host is the platform that the toolchain runs on.
func host() string {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	return arch + "-unknown-linux-gnu"
}

// install lays the toolchain of a manifest out in dir: the compiler, cargo, the standard library, and that of further targets.
func (d dist) install(m channelManifest, targets []string, dir string) error {
	type component struct{ pkg, target string }
	parts := []component{{"rustc", host()}, {"cargo", host()}, {"rust-std", host()}}
	for _, t := range targets {
		if t != host() {
			parts = append(parts, component{"rust-std", t})
		}
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".rust-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, c := range parts {
		p, ok := m.Pkg[c.pkg].Target[c.target]
		if !ok || !p.Available || p.URL == "" {
			return fmt.Errorf("this Rust has no %s for %s", c.pkg, c.target)
		}
		// A mirror keeps the server's paths.
		url := p.URL
		if rest, ok := strings.CutPrefix(url, distServer); ok {
			url = d.server + rest
		}
		if err := d.unpack(url, p.Hash, tmp); err != nil {
			return err
		}
	}
	return kit.Move(tmp, dir)
}

// unpack downloads an archive, checks it and unpacks the component in it: ARCHIVE/COMPONENT/{bin,lib,…}.
func (d dist) unpack(url, hash, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	file := filepath.Join(dir, ".archive")
	defer os.Remove(file)
	if err := d.download(ctx, url, hash, file); err != nil {
		return err
	}
	_, err := kit.Cmd{Args: []string{"tar", "-xJf", file, "-C", dir, "--strip-components=2", "--no-same-owner", "--exclude=*/share", "--exclude=*/manifest.in"}, Env: d.env, Out: d.out,
		Name: "unpacking " + url}.Run()
	return err
}

func (d dist) download(ctx context.Context, url, hash, file string) error {
	resp, err := d.open(ctx, url)
	if errors.Is(err, errNoChannel) {
		return fmt.Errorf("%s is missing", url)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(resp.Body, maxComponent+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if n > maxComponent || !strings.EqualFold(hex.EncodeToString(h.Sum(nil)), hash) {
		return fmt.Errorf("%s does not have the digest that its manifest says", url)
	}
	return nil
}
