package deploy

import "time"

// troubleFor is how long an instance that ended by itself and was started again is in trouble.
const troubleFor = time.Minute

// Trouble says in a few words which instances do not stay up: "worker: out of memory", "web: crashes"; "" where all do.
func Trouble(all []Instance, now time.Time) string {
	for _, in := range all {
		again := in.Restarts > 1 && now.Sub(in.EndedAt) < troubleFor
		switch {
		case in.Ended == nil || in.State != InstanceRestarting && !again:
		case in.Ended.Reason == OutOfMemory:
			return in.Type + ": out of memory"
		case in.Ended.Reason == Exited:
			return in.Type + ": crashes"
		default:
			return in.Type + ": does not start"
		}
	}
	return ""
}
