package deploy

import (
	"fmt"
	"time"
)

// InstanceState is what an instance is doing.
type InstanceState string

// The states of an instance.
const (
	InstanceStarting   InstanceState = "starting"
	InstanceUp         InstanceState = "up"
	InstanceStopping   InstanceState = "stopping"   // it lets its requests finish
	InstanceRestarting InstanceState = "restarting" // it ended by itself, and is started again after a pause
	InstanceFinished   InstanceState = "finished"   // a worker that ended with status 0 right after its start, and is not started again
)

// Instance is one instance of a Service.
type Instance struct {
	Type     string // process type: "web", "worker"
	Name     string // as in the log: "abc12", "worker.1"; "" for the next one of a web process whose instances do not stay up
	Revision string
	State    InstanceState
	Since    time.Time   // of its start; zero while it does not run
	Restarts int         // how often it was started again because it had ended by itself; of web, how often one of the revision was
	Ended    *StartError // how it ended by itself last, or, of web, the last one of the revision that did; nil where none has
	EndedAt  time.Time
	Usage    *Usage // nil where it is not known
}

// Usage is what an instance uses.
type Usage struct {
	Memory int64   // bytes
	Limit  int64   // bytes that it may use; 0 for no limit
	CPU    float64 // cores, over the last moment
}

// InstanceName is the name of a worker's instance, in the log and elsewhere: "worker.1".
func InstanceName(process string, number int) string { return fmt.Sprintf("%s.%d", process, number) }

// FinishesWithin is how soon after its first start a worker must end with status 0 to be taken for one that has done its work. It is not
// started again before the next release.
const FinishesWithin = 10 * time.Second
