package sandbox

import (
	"os"
	"strings"
	"testing"
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
