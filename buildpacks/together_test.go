package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/parts"
)

// TestDetectTogether: one process detects for all buildpacks as a process for each does.
func TestDetectTogether(t *testing.T) {
	if os.Getenv("GITD_PARTS") == "" {
		t.Setenv("GITD_PARTS", "../bin/parts")
	}
	program, err := parts.Path(parts.Buildpacks)
	if err != nil {
		t.Fatalf("this test needs the parts (make parts): %v", err)
	}
	platform, dirs := t.TempDir(), installed(t, program)
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "package.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, app := range []string{"../examples/go", "../examples/node", "../examples/python", "../examples/static", broken, t.TempDir()} {
		t.Run(filepath.Base(app), func(t *testing.T) {
			env := append(os.Environ(), "CNB_PLATFORM_DIR="+platform)
			together := detectAll(t, program, app, env, dirs)
			for i, dir := range dirs {
				if alone := detectAlone(t, app, env, dir); alone != together[i] {
					t.Errorf("%s: alone %+v, together %+v", dir, alone, together[i])
				}
			}
		})
	}
}

// installed lays our buildpacks out as a builder image has them.
func installed(t *testing.T, program string) (dirs []string) {
	t.Helper()
	root := t.TempDir()
	for _, b := range catalog.All() {
		dir := filepath.Join(root, catalog.EscapeID(b.ID), b.Version)
		err := errors.Join(os.MkdirAll(filepath.Join(dir, "bin"), 0o755), os.WriteFile(filepath.Join(dir, "buildpack.toml"), b.Descriptor, 0o644),
			os.Symlink(program, filepath.Join(dir, "bin", "detect")))
		if err != nil {
			t.Fatal(err)
		}
		var d struct{ API string }
		if err := toml.Unmarshal(b.Descriptor, &d); err != nil || d.API != catalog.BuildpackAPI {
			t.Errorf("%s is written for API %q (%v), and detection together knows %s", b.ID, d.API, err, catalog.BuildpackAPI)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// detectAll asks one process.
func detectAll(t *testing.T, program, app string, env, dirs []string) (all []catalog.Detection) {
	t.Helper()
	var asked bytes.Buffer
	for _, d := range dirs {
		if err := json.NewEncoder(&asked).Encode(d); err != nil {
			t.Fatal(err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := exec.Command(program, catalog.DetectTogether)
	c.Dir, c.Env, c.Stdin, c.ExtraFiles = app, env, &asked, []*os.File{w}
	err = c.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(r)
	for {
		var d catalog.Detection
		if err := answers.Decode(&d); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	if err := c.Wait(); err != nil || len(all) != len(dirs) {
		t.Fatalf("%d answers of %d: %v", len(all), len(dirs), err)
	}
	return all
}

// detectAlone starts a buildpack's detection as the lifecycle does.
func detectAlone(t *testing.T, app string, env []string, dir string) catalog.Detection {
	t.Helper()
	plan := filepath.Join(t.TempDir(), "plan.toml")
	c := exec.Command(filepath.Join(dir, "bin", "detect"))
	c.Dir, c.Env = app, append(env, "CNB_BUILDPACK_DIR="+dir, "CNB_BUILD_PLAN_PATH="+plan)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(plan)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return catalog.Detection{Code: c.ProcessState.ExitCode(), Output: string(out), Plan: string(text)}
}
