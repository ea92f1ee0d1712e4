package sandbox

import (
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/sandbox"
)

const (
	cacheMount  = "/gitd-cache"                        // the app's cache in the container
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

// writePlatform writes the platform directory: one file a variable.
func writePlatform(dir string, env map[string]string) error {
	if err := os.MkdirAll(filepath.Join(dir, "env"), 0o755); err != nil {
		return err
	}
	for n, v := range env {
		if err := os.WriteFile(filepath.Join(dir, "env", n), []byte(v), 0o644); err != nil {
			return err
		}
	}
	return nil
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
