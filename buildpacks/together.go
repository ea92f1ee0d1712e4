package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// detectTogether answers for one buildpack after the other, as catalog.DetectTogether says.
func detectTogether(in io.Reader, answers io.Writer) error {
	asked, answer := json.NewDecoder(in), json.NewEncoder(answers)
	for {
		var dir string
		if err := asked.Decode(&dir); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		d, err := detection(dir)
		if err != nil {
			return err
		}
		if err := answer.Encode(d); err != nil {
			return err
		}
	}
}

// detection runs the detection of the buildpack in a folder.
func detection(dir string) (*catalog.Detection, error) {
	var out, plan bytes.Buffer
	d := &catalog.Detection{}
	ends := &ended{out: &out, detection: d}
	if id, bp, err := at(dir, &out); err != nil {
		ends.Error(err)
	} else {
		// libcnb takes them from the environment. The plan goes to planned instead.
		for name, value := range map[string]string{"CNB_BUILDPACK_DIR": dir, "CNB_BUILD_PLAN_PATH": os.DevNull} {
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
		}
		libcnb.Detect(chosen{bp, id, &out}, libcnb.WithExitHandler(ends), libcnb.WithTOMLWriter(planned{&plan}))
	}
	d.Output, d.Plan = out.String(), plan.String()
	return d, nil
}

// ended notes how a detection ends, where exit ends the process.
type ended struct {
	out       io.Writer
	detection *catalog.Detection
}

// Error implements libcnb.ExitHandler.
func (e *ended) Error(err error) {
	fmt.Fprintf(e.out, "gitd-error: %s\n", kit.Line(err))
	e.detection.Code = 1
}

// Fail implements libcnb.ExitHandler.
func (e *ended) Fail() { e.detection.Code = 100 }

// Pass implements libcnb.ExitHandler.
func (e *ended) Pass() { e.detection.Code = 0 }

// planned takes the build plan.
type planned struct{ to io.Writer }

// Write implements libcnb.TOMLWriter.
func (p planned) Write(_ string, value any) error { return toml.NewEncoder(p.to).Encode(value) }
