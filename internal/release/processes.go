package release

import (
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// processes are the process types of an image that run.
type processes struct {
	web     bool
	workers []string
	oneOff  []string // declared, and not run: commands that are started by hand
}

// withoutWorkers leaves what takes requests. It returns an *app.Error if there is nothing.
func (p *processes) withoutWorkers() error {
	if !p.web {
		return app.Errorf(app.CodeStartFailed, "have them run in previews too: workers = true under [io.gitd.previews] in project.toml",
			"nothing of the preview would run: the app has workers alone (%s), and previews run none", strings.Join(p.workers, ", "))
	}
	p.workers = nil
	return nil
}

// oneOffTypes are names of process types by which people keep commands that they start by hand, or that others run at a deployment. They are not
// run unless project.toml says so.
var oneOffTypes = map[string]bool{"console": true, "shell": true, "repl": true, "task": true, "tasks": true, "custom": true, "rake": true, "migrate": true, "migration": true,
	"migrations": true, "seed": true, "setup": true, "test": true, "tests": true, "dev": true, "predeploy": true, "postdeploy": true, "preflight": true}

// isWorker reports whether a process type that the Procfile declares runs beside web.
func isWorker(t string, instances map[string]int64) bool {
	n, said := instances[t]
	return t != webProcess && t != releaseProcess && (n > 0 || !said && !oneOffTypes[t])
}

// processesOf decides which process types of an image run: web, those that the app's Procfile declares, and those that project.toml asks
// for (instances, by type). Other types in the image come from buildpacks (a console, each of a Go app's programs) and do not run unless
// they are asked for. It returns an *app.Error for a type in project.toml that the image does not have, and where nothing would run.
func processesOf(declared []string, image []app.Process, instances map[string]int64) (processes, error) {
	var p processes
	for _, t := range declared {
		switch {
		case isWorker(t, instances) && has(image, t):
			p.workers = append(p.workers, t)
		case oneOffTypes[t] && has(image, t):
			p.oneOff = append(p.oneOff, t)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(instances)) {
		switch {
		case t == webProcess:
		case !has(image, t):
			return p, app.Errorf(app.CodeInvalidInput, "add it to the Procfile, or take it out of project.toml",
				"project.toml: io.gitd.processes.%s: the image has no such process type (it has: %s)", t, types(image))
		case instances[t] > 0 && !slices.Contains(p.workers, t):
			p.workers = append(p.workers, t)
		}
	}
	n, said := instances[webProcess]
	p.web = has(image, webProcess) && (!said || n > 0) && !isAlsoWorker(declared, image, p.workers)
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
