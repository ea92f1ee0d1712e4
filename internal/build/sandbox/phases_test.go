package sandbox

import (
	"os"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/build/builder"
)

// TestPhasesLifecycle: gitd-phases is used where the builder's lifecycle is the one that it is made of.
func TestPhasesLifecycle(t *testing.T) {
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "github.com/buildpacks/lifecycle v"+phasesLifecycle+"\n") {
		t.Errorf("go.mod has another lifecycle than %s", phasesLifecycle)
	}
}

// TestReadBuilder: the version of a builder's lifecycle, which decides whether gitd-phases runs, is in pack's description of it.
func TestReadBuilder(t *testing.T) {
	for _, labels := range []map[string]string{
		{"io.buildpacks.builder.metadata": `{"lifecycle": {"version": "0.21.0"}}`},
		{"io.buildpacks.lifecycle.version": "0.21.0"},
	} {
		e := &Engine{opts: Options{Builder: &builder.Builder{Image: testImage(t, labels)}}}
		if err := e.readBuilder(); err != nil || e.launcher != phasesLifecycle {
			t.Errorf("%v: lifecycle %q (%v), want %s", labels, e.launcher, err, phasesLifecycle)
		}
	}
}
