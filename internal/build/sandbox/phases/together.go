package phases

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/lifecycle/buildpack"
	"github.com/buildpacks/lifecycle/log"

	"github.com/gitd-io/gitd/buildpacks/catalog"
)

// together lets all of our buildpacks detect in one process, one after the other: they are one program under many names, and its start takes
// longer than most of what it looks for. Buildpacks of others, and ours where that process cannot be used, have a process each.
type together struct {
	alone buildpack.DefaultDetectExecutor

	mu      sync.Mutex // mu guards the following, and is held while a buildpack detects
	started bool
	command *exec.Cmd // nil where there is none, or none any more
	ask     *json.Encoder
	answer  *json.Decoder
	ends    []*os.File // our ends of its pipes
}

// Detect implements buildpack.DetectExecutor.
func (t *together) Detect(d buildpack.Descriptor, inputs buildpack.DetectInputs, logger log.Logger) buildpack.DetectOutputs {
	if bp, ok := d.(*buildpack.BpDescriptor); ok && isOurs(bp) {
		if out, ok := t.detect(bp.WithRootDir, inputs); ok {
			return out
		}
	}
	return t.alone.Detect(d, inputs, logger)
}

// isOurs tells whether a buildpack's detection is the program of all of ours, by the interface that the process speaks.
func isOurs(bp *buildpack.BpDescriptor) bool {
	program, err := os.Readlink(filepath.Join(bp.WithRootDir, "bin", "detect"))
	return err == nil && program == catalog.Program && bp.WithAPI == catalog.BuildpackAPI
}

// detect asks the process. It returns false where that does not answer.
func (t *together) detect(dir string, inputs buildpack.DetectInputs) (buildpack.DetectOutputs, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		t.started = true
		if t.start(inputs) != nil {
			t.stop()
		}
	}
	if t.command == nil {
		return buildpack.DetectOutputs{}, false
	}
	var found catalog.Detection
	if t.ask.Encode(dir) != nil || t.answer.Decode(&found) != nil {
		t.stop()
		return buildpack.DetectOutputs{}, false
	}
	out := buildpack.DetectOutputs{Code: found.Code, Output: []byte(found.Output)}
	if found.Code == 0 {
		if _, err := toml.Decode(found.Plan, &out.BuildPlan); err != nil {
			return buildpack.DetectOutputs{Code: -1, Err: err, Output: out.Output}, true
		}
	}
	return out, true
}

// start starts the process, in the environment that the lifecycle gives a buildpack.
func (t *together) start(inputs buildpack.DetectInputs) error {
	env, err := inputs.Env.WithOverrides(inputs.PlatformDir, inputs.BuildConfigDir)
	if err != nil {
		return err
	}
	c := exec.Command(catalog.Program, catalog.DetectTogether)
	c.Dir = inputs.AppDir
	c.Env = append(env, buildpack.EnvPlatformDir+"="+inputs.PlatformDir)
	asks, ask, err := os.Pipe()
	if err != nil {
		return err
	}
	answer, answers, err := os.Pipe()
	if err != nil {
		asks.Close()
		ask.Close()
		return err
	}
	c.Stdin, c.ExtraFiles = asks, []*os.File{answers}
	err = c.Start()
	asks.Close()
	answers.Close()
	t.ends = []*os.File{ask, answer}
	if err != nil {
		return err
	}
	t.command, t.ask, t.answer = c, json.NewEncoder(ask), json.NewDecoder(answer)
	return nil
}

// stop ends the process. The caller holds mu, or is alone.
func (t *together) stop() {
	for _, f := range t.ends {
		f.Close()
	}
	if t.command != nil {
		_ = t.command.Process.Kill()
		_ = t.command.Wait()
	}
	t.command, t.ends = nil, nil
}

func (t *together) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop()
}
