package app

// Rollout is how a push asks for its release to get its traffic. The zero value leaves that to the app.
type Rollout struct {
	Strategy string  // AtOnce, Steps or Canary; "" for what the app's settings say
	Percent  int64   // of the traffic, for Canary
	Steps    []int64 // percentages on the way to 100, for Steps
}

// The strategies of a rollout.
const (
	AtOnce = "at-once" // all traffic in one step
	Steps  = "steps"   // by given percentages, each for a while
	Canary = "canary"  // a small share first, judged by what the data plane counts
)
