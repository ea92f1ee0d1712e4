package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/sandbox"
)

const (
	cacheMount  = "/gitd-cache"                        // the app's cache in the container
	phasesMount = "/gitd-phases"                       // detects and builds
	sharedMount = "/gitd-shared"                       // what is prepared for all apps in the container
	caBundle    = "/etc/ssl/certs/ca-certificates.crt" // the host's certificate authorities in the container
)

// bringing says where the container finds what gitd mounts into it; bundle is the host's file of authorities, "" for none.
func (e *Engine) bringing(bundle string) lifecycle.Places {
	p := lifecycle.Places{Cache: cacheMount}
	if bundle != "" {
		p.Bundle = caBundle
	}
	if e.shared != nil {
		p.Shared = sharedMount
	}
	return p
}

// writePlatform writes the platform directory: one file a variable. Where there are secrets among them, the files are in memory that is not swapped; a
// server that is killed leaves its mount to removeLeftovers.
func (b *running) writePlatform(env map[string]string) error {
	dir := filepath.Join(b.in("platform"), "env")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if len(b.Request.Secrets) > 0 {
		if err := unix.Mount("ramfs", dir, "ramfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755"); err != nil {
			return fmt.Errorf("mount the file system for the build's secrets: %w", err)
		}
		b.secrets = dir
	}
	for n, v := range env {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(v), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// forgetSecrets removes what of the environment is in memory.
func (b *running) forgetSecrets() {
	if b.secrets == "" {
		return
	}
	if err := unix.Unmount(b.secrets, unix.MNT_DETACH); err != nil {
		b.opts.Log("build: the secrets of %s stay in memory: %v", b.name, err)
	}
}

// containerEnv is the environment of the lifecycle in the container: the builder image's, and what the lifecycle itself reads.
func containerEnv(image []string, api string, platform map[string]string) []string {
	env := append([]string{}, image...)
	if !sandbox.HasVariable(env, "PATH") {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	if !sandbox.HasVariable(env, "HOME") {
		env = append(env, "HOME=/home/cnb")
	}
	for _, n := range phase.Proxies {
		if v := platform[n]; v != "" {
			env = append(env, n+"="+v)
		}
	}
	return append(env, "CNB_PLATFORM_API="+api, "CNB_EXEC_ENV="+lifecycle.ExecEnv, "CNB_REGISTRY_AUTH={}", "CNB_NO_COLOR=true")
}
