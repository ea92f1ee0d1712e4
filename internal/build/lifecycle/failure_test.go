package lifecycle

import (
	"testing"

	"github.com/buildpacks/lifecycle/platform"
)

func TestExitStatuses(t *testing.T) {
	exiter := platform.NewExiter("")
	for ours, theirs := range map[int]platform.LifecycleExitError{
		failedDetect:           platform.FailedDetect,
		failedDetectWithErrors: platform.FailedDetectWithErrors,
		failedBuildWithErrors:  platform.FailedBuildWithErrors,
	} {
		if got := exiter.CodeFor(theirs); got != ours {
			t.Errorf("the lifecycle says %d where we have %d", got, ours)
		}
	}
}
