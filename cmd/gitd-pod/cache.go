package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/disk"
)

// prepareCache makes the directories of the app's volume, where it has one. What others than the build's user own is of an earlier
// builder image: the lifecycle and the buildpacks meet it as they would any broken cache.
func prepareCache(job *wire.Job) error {
	if job.CacheDir == "" {
		return nil
	}
	if job.Clear {
		if err := clearCache(); err != nil {
			return err
		}
	}
	for _, dir := range []string{job.CacheDir, wire.BuildCache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// clearCache removes what is on the volume.
func clearCache() error {
	entries, err := os.ReadDir(wire.Cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lost+found" {
			continue
		}
		if err := disk.RemoveAll(filepath.Join(wire.Cache, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// private are the addresses that the lifecycle speaks plain HTTP to unasked.
var private = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8"}

func isPrivate(ip net.IP) bool {
	return slices.ContainsFunc(private, func(cidr string) bool {
		_, block, err := net.ParseCIDR(cidr)
		return err == nil && block.Contains(ip)
	})
}

// plainCache makes the cache image reachable in a registry that speaks plain HTTP. The lifecycle takes such registries for all images but
// this one: for it, a host's name is replaced by its address, and so it is in the credentials. Where that cannot be, there is no cache.
func plainCache(job *wire.Job, auth string, lookup func(host string) ([]net.IP, error)) string {
	registry, repository, _ := strings.Cut(job.Cache, "/")
	if job.Cache == "" || registry != job.Insecure {
		return auth
	}
	host, port, err := net.SplitHostPort(registry)
	if err != nil {
		host, port = registry, "80"
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && isPrivate(ip) {
		return auth
	}
	job.Cache = ""
	all, err := lookup(host)
	if err != nil {
		return auth
	}
	for _, ip := range all {
		if !isPrivate(ip) {
			continue
		}
		address := net.JoinHostPort(ip.String(), port)
		job.Cache = address + "/" + repository
		headers := map[string]string{}
		if json.Unmarshal([]byte(auth), &headers) == nil && headers[registry] != "" {
			headers[address] = headers[registry]
			if b, err := json.Marshal(headers); err == nil {
				return string(b)
			}
		}
		break
	}
	return auth
}

// boundCache leaves out a cache that grew over its limit: whole, for a part of a package manager's cache may be worth less than none.
func boundCache(job *wire.Job) {
	if job.MaxCache == 0 {
		return
	}
	if job.Cache != "" {
		if n := cachedLayers(); n > job.MaxCache {
			job.Cache = ""
			say(wire.Event{Note: fmt.Sprintf("the build cache is %s, over its limit of %s: it is not kept", app.Size(n), app.Size(job.MaxCache))})
		}
	}
}

// boundVolume empties a volume that grew over the cache's limit.
func boundVolume(job wire.Job) {
	if job.CacheDir == "" || job.MaxCache == 0 {
		return
	}
	if n := disk.Measure(context.Background(), wire.Cache).Bytes; n > job.MaxCache {
		err := clearCache()
		say(wire.Event{Note: fmt.Sprintf("the build cache had grown to %s, over its limit of %s, and was removed (%v)", app.Size(n), app.Size(job.MaxCache), err)})
	}
}

// cachedLayers is how many bytes the layers take that a build wants to keep.
func cachedLayers() (n int64) {
	files, err := filepath.Glob(wire.Layers + "/*/*.toml")
	if err != nil {
		return 0
	}
	for _, file := range files {
		var layer struct {
			Types struct {
				Cache bool `toml:"cache"`
			} `toml:"types"`
		}
		text, err := disk.ReadInside(wire.Layers, strings.TrimPrefix(file, wire.Layers+"/"), 1<<20)
		if err == nil && toml.Unmarshal(text, &layer) == nil && layer.Types.Cache {
			dir := strings.TrimSuffix(file, ".toml")
			if info, err := os.Lstat(dir); err == nil && info.Mode().Type() == fs.ModeDir {
				n += disk.Measure(context.Background(), dir).Bytes
			}
		}
	}
	return n
}
