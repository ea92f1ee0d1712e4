package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/tail"
)

const lifecycleDir = "/cnb/lifecycle/"

// environment is what the lifecycle's programs see: the builder image's variables, and what they read themselves.
func environment(job wire.Job) []string {
	return variables(job, os.Environ(), filepath.Join(wire.Platform, "env"))
}

// variables takes the proxies from a directory.
func variables(job wire.Job, inherited []string, dir string) []string {
	var env []string
	for _, e := range inherited {
		if !strings.HasPrefix(e, "CNB_REGISTRY_AUTH=") && !strings.HasPrefix(e, "DOCKER_CONFIG=") {
			env = append(env, e)
		}
	}
	if os.Getenv("HOME") == "" || os.Getenv("HOME") == "/" {
		env = append(env, "HOME=/home/cnb")
	}
	for _, n := range phase.Proxies {
		if v, err := os.ReadFile(filepath.Join(dir, n)); err == nil && len(v) > 0 {
			env = append(env, n+"="+string(v))
		}
	}
	return append(env, "CNB_PLATFORM_API="+job.API, "CNB_EXEC_ENV="+job.ExecEnv, "CNB_NO_COLOR=true")
}

// registryEnvironment is that of programs which talk to the registry; CNB_REGISTRY_AUTH comes on top. Their proxies are those of gitd: the
// platform's may be the app's, and the one who chooses the proxy gets the credentials.
func registryEnvironment(job wire.Job, dir string) []string {
	env := variables(job, slices.DeleteFunc(os.Environ(), isProxy), dir)
	if _, err := os.Stat(wire.Bundle); err == nil {
		env = append(env, "SSL_CERT_FILE="+wire.Bundle)
	}
	if job.Insecure != "" {
		env = append(env, "CNB_INSECURE_REGISTRIES="+job.Insecure)
	}
	return env
}

func isProxy(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return strings.HasSuffix(strings.ToUpper(name), "_PROXY")
}

// run runs a program of the lifecycle to its end. Its error has the program's own words.
func run(phase string, job wire.Job, auth, program string, args ...string) error {
	c := exec.Command(lifecycleDir+program, append([]string{"-log-level", "info", "-layers", wire.Layers,
		"-uid", fmt.Sprint(job.UID), "-gid", fmt.Sprint(job.GID)}, args...)...)
	c.Env = append(registryEnvironment(job, gitdEnv), "CNB_REGISTRY_AUTH="+auth)
	t := &tail.Tail{}
	c.Stdout, c.Stderr = t, t
	return words(phase, c.Run(), t)
}

func words(phase string, err error, t *tail.Tail) error {
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fail(phase, "%v", err)
	}
	return &failure{wire.Failed{Phase: phase, Code: exit.ExitCode(), Message: reason(t.String(), exit.String())}}
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// reason is the last line of output that the lifecycle calls an error, or the last one at all.
func reason(output, otherwise string) string {
	last := otherwise
	for _, l := range strings.Split(colour.ReplaceAllString(output, ""), "\n") {
		if e, ok := strings.CutPrefix(strings.TrimSpace(l), "ERROR: "); ok {
			return e
		} else if l = strings.TrimSpace(l); l != "" {
			last = l
		}
	}
	return last
}
