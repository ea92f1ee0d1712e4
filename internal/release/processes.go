package release

import (
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
)

// processes are the process types of an image that run.
type processes struct {
	web     bool
	workers []deploy.Worker
	off     []deploy.Worker // as workers, but switched off
	oneOff  []string        // declared, and not run: commands that are started by hand
}

// withoutWorkers leaves what takes requests. It returns an *app.Error if there is nothing.
func (p *processes) withoutWorkers() error {
	if !p.web {
		return app.Errorf(app.CodeStartFailed, "have them run in previews too: workers = true under [io.gitd.previews] in project.toml",
			"nothing of the preview would run: the app has workers alone (%s), and previews run none", strings.Join(deploy.WorkerTypes(p.workers), ", "))
	}
	p.workers = nil
	return nil
}

// oneOffTypes are names of process types by which people keep commands that they start by hand, or that others run at a deployment. They are not
// run unless project.toml says so.
var oneOffTypes = map[string]bool{"console": true, "shell": true, "repl": true, "task": true, "tasks": true, "custom": true, "rake": true, "migrate": true, "migration": true,
	"migrations": true, "seed": true, "setup": true, "test": true, "tests": true, "dev": true, "predeploy": true, "postdeploy": true, "preflight": true}

// isWorker reports whether a process type that the Procfile declares runs beside web.
func isWorker(t string, said map[string]project.Process) bool {
	n := said[t].Instances
	return t != webProcess && t != releaseProcess && (n != nil && *n > 0 || n == nil && !oneOffTypes[t])
}

// workerOf is a process type with what the app's files say of it: one instance where they say nothing.
func workerOf(t string, said map[string]project.Process) deploy.Worker {
	p := said[t]
	w := deploy.Worker{Type: t, Instances: 1, Memory: p.Memory, CPU: p.CPU}
	if p.Instances != nil {
		w.Instances = *p.Instances
	}
	return w
}

// processesOf decides which process types of an image run: web, those that the app's Procfile declares, and those that its settings ask
// for (said, by type). Other types in the image come from buildpacks (a console, each of a Go app's programs) and do not run unless
// they are asked for, but for a worker where that is all that there is. It returns an *app.Error for a type in project.toml that the image does not have, and where nothing would run.
func processesOf(declared []string, image []app.Process, said map[string]project.Process) (processes, error) {
	var p processes
	for _, t := range declared {
		switch {
		case isWorker(t, said) && has(image, t):
			p.workers = append(p.workers, workerOf(t, said))
		case oneOffTypes[t] && has(image, t):
			p.oneOff = append(p.oneOff, t)
		case t != webProcess && t != releaseProcess && has(image, t):
			p.off = append(p.off, workerOf(t, said))
		}
	}
	for _, t := range slices.Sorted(maps.Keys(said)) {
		switch {
		case t == webProcess:
		case !has(image, t) && said[t].Moved:
		case !has(image, t):
			return p, app.Errorf(app.CodeInvalidInput, "add it to the Procfile, or take it out of project.toml",
				"project.toml: io.gitd.processes.%s: the image has no such process type (it has: %s)", t, types(image))
		case said[t].Instances != nil && *said[t].Instances > 0 && !slices.Contains(deploy.WorkerTypes(p.workers), t):
			p.workers = append(p.workers, workerOf(t, said))
		}
	}
	n := said[webProcess].Instances
	p.web = has(image, webProcess) && (n == nil || *n > 0) && !isAlsoWorker(declared, image, deploy.WorkerTypes(p.workers))
	if n := said[workerProcess].Instances; !p.web && len(declared) == 0 && has(image, workerProcess) && len(p.workers) == 0 && (n == nil || *n > 0) {
		p.workers = append(p.workers, workerOf(workerProcess, said)) // the buildpack found a program that takes no requests
	}
	if !p.web && len(p.workers) == 0 {
		return p, app.Errorf(app.CodeStartFailed, "add a line such as \"web: ./server\" or \"worker: ./worker\" to a Procfile at the root of the app",
			"nothing of the app would run: the image has no process type web, and no worker (it has: %s)", types(image))
	}
	return p, nil
}

// isAlsoWorker reports whether web, which a buildpack found by itself, is the same command as a worker of the Procfile: a bot whose start
// script says what its worker does. It is one program then, which takes no requests.
func isAlsoWorker(declared []string, image []app.Process, workers []string) bool {
	if slices.Contains(declared, webProcess) {
		return false
	}
	web := commandOf(image, webProcess)
	return slices.ContainsFunc(workers, func(t string) bool { return commandOf(image, t) == web })
}

// commandOf is the command of a process type in one line.
func commandOf(image []app.Process, t string) string {
	for _, p := range image {
		if p.Type == t {
			return strings.Join(append(slices.Clone(p.Command), p.Args...), " ")
		}
	}
	return ""
}
