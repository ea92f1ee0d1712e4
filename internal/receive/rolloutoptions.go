package receive

import (
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// rollout is how the push asks for its traffic.
func (o PushOptions) rollout() app.Rollout {
	switch {
	case o.Canary > 0:
		return app.Rollout{Strategy: app.Canary, Percent: o.Canary}
	case o.Steps != "":
		steps, _ := parseSteps(o.Steps) // it was parsed before
		return app.Rollout{Strategy: app.Steps, Steps: steps}
	case o.AtOnce:
		return app.Rollout{Strategy: app.AtOnce}
	}
	return app.Rollout{}
}

// checkRollout refuses options that ask for different ways to the traffic.
func (o PushOptions) checkRollout() error {
	asked := 0
	for _, yes := range []bool{o.Canary > 0, o.Steps != "", o.AtOnce, o.NoTraffic} {
		if yes {
			asked++
		}
	}
	if asked > 1 {
		return refusedOption("push options canary, steps, at-once and no-traffic exclude each other: each says how the release gets its traffic")
	}
	return nil
}

func parseCanary(text string, to *int64) (err error) {
	if *to, err = strconv.ParseInt(text, 10, 64); err != nil || *to < 1 || *to > 99 {
		return app.Errorf(app.CodeInvalidInput, "push with -o canary=10 or the like", "push option \"canary\": %q is not a percentage from 1 to 99", app.Plain(app.Clip(text, 60)))
	}
	return nil
}

// maxSteps bounds the list of a push; project.toml has the same bound.
const maxSteps = 20

func parseSteps(text string) (steps []int64, err error) {
	parts := strings.SplitN(text, ",", maxSteps+1)
	before := int64(0)
	for _, p := range parts {
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(p), "%"), 10, 64)
		if err != nil || n <= before || n > 99 || len(parts) > maxSteps {
			return nil, app.Errorf(app.CodeInvalidInput, "push with -o steps=10,50 or the like", "push option \"steps\": give at most %d percentages from 1 to 99 that rise, separated by commas", maxSteps)
		}
		before = n
		steps = append(steps, n)
	}
	return steps, nil
}
