package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/tail"
)

// export writes the image, and then the cache. gitd is told of the image as soon as it is in the registry: a release does not wait for
// the cache.
func export(job wire.Job) error {
	began := time.Now()
	if job.AppDir != "" {
		if err := phase.SetWorkingDir(wire.Layers, path.Join(wire.Workspace, job.AppDir)); err != nil {
			return fail("export", "set the folder in which processes start: %v", err)
		}
	}
	c, report, err := exporter(&job)
	if err != nil {
		return err
	}
	t := &tail.Tail{}
	c.Stdout, c.Stderr = t, t
	if err := c.Start(); err != nil {
		return fail("export", "%v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	exported := false // gitd was told of the image
	look := func() {
		if exported {
			return
		}
		if d := digest(report); d != "" {
			exported = true
			e := wire.Event{Exported: &wire.Exported{Digest: d, Milliseconds: time.Since(began).Milliseconds()}}
			_ = os.WriteFile(wire.Termination, wire.Line(e), 0o644)
			say(e)
			began = time.Now()
		}
	}
	for {
		select {
		case <-tick.C:
			look()
		case err := <-ended:
			look()
			if exported { // a later failure is only the cache's
				if err != nil {
					say(wire.Event{Note: "the cache could not be written: " + reason(t.String(), err.Error())})
				}
				boundVolume(job)
				say(wire.Event{Cached: &wire.Done{Milliseconds: time.Since(began).Milliseconds()}})
				return nil
			}
			if err == nil {
				return fail("export", "the exporter gave no digest")
			}
			return words("export", err, t)
		}
	}
}

// exporter returns the command of the lifecycle's exporter, and the file that it reports the image's digest in.
func exporter(job *wire.Job) (c *exec.Cmd, report string, err error) {
	env := registryEnvironment(*job, gitdEnv)
	auth, err := credentials(true)
	if err != nil {
		return nil, "", fail("export", "%v", err)
	}
	auth = plainCache(job, auth, net.LookupIP)
	boundCache(job)
	dir, err := os.MkdirTemp("", "report-")
	if err != nil {
		return nil, "", err
	}
	report = filepath.Join(dir, "report.toml")
	args := append([]string{"-log-level", "info", "-layers", wire.Layers, "-app", wire.Workspace, "-report", report,
		"-analyzed", filepath.Join(wire.Credentials, analyzedFile), // the one in the layers may be the app's
		"-uid", fmt.Sprint(job.UID), "-gid", fmt.Sprint(job.GID)}, cacheArguments(*job)...)
	c = exec.Command(lifecycleDir+"exporter", append(args, job.Output)...)
	c.Env = append(env, "CNB_REGISTRY_AUTH="+auth)
	return c, report, nil
}

// digest returns the image's from the exporter's report; "" as long as that is not written.
func digest(report string) string {
	var r struct {
		Image struct {
			Digest string `toml:"digest"`
		} `toml:"image"`
	}
	if _, err := os.Stat(report); err != nil {
		return ""
	}
	if _, err := toml.DecodeFile(report, &r); err != nil || len(r.Image.Digest) != len("sha256:")+64 {
		return ""
	}
	return r.Image.Digest
}
