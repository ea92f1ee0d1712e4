// Command gitd-pod is gitd's own program in containers on a cluster, and process 1 of each. In those of a build it runs the programs of the builder
// image's lifecycle (internal/build/cluster/wire), in that of an attached run the command (internal/deploy/knative/stream), and in that of an app's
// maintenance it answers requests, or holds them, as in that which proves a domain to those who issue certificates.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "gitd-pod is started by gitd, in a Pod")
		os.Exit(2)
	}
	if os.Args[1] == stream.Run {
		os.Exit(attached())
	}
	if os.Args[1] == stream.Hold {
		os.Exit(hold(os.Args[2]))
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { // process 1 has to end by itself; the kernel ends the others with it
		<-stop
		os.Exit(128 + int(syscall.SIGTERM))
	}()
	switch os.Args[1] {
	case wire.Page:
		os.Exit(page(os.Args[2] == wire.Stopped))
	case stream.Proof:
		os.Exit(proof(os.Args[2]))
	case stream.Install:
		os.Exit(install(os.Args[2]))
	}
	var job wire.Job
	if err := json.Unmarshal([]byte(os.Args[2]), &job); err != nil {
		fmt.Fprintln(os.Stderr, "gitd-pod: the job cannot be read:", err)
		os.Exit(2)
	}
	switch os.Args[1] {
	case wire.Prepare:
		os.Exit(events(prepare(job)))
	case wire.Build:
		os.Exit(build(job))
	case wire.Export:
		os.Exit(events(export(job)))
	}
	fmt.Fprintf(os.Stderr, "gitd-pod: no command %q\n", os.Args[1])
	os.Exit(2)
}

var saying sync.Mutex

// say tells gitd.
func say(e wire.Event) {
	saying.Lock()
	defer saying.Unlock()
	_, _ = os.Stdout.Write(wire.Line(e))
}

// failure is the error of a step.
type failure struct{ wire.Failed }

func (f *failure) Error() string { return f.Phase + ": " + f.Message }

func fail(phase string, format string, args ...any) error {
	return &failure{wire.Failed{Phase: phase, Message: fmt.Sprintf(format, args...)}}
}

// events tells gitd why a container failed, over its output and, for when that is lost, in its termination message. It returns the exit
// status.
func events(err error) int {
	if err == nil {
		return 0
	}
	f, ok := err.(*failure)
	if !ok {
		f = &failure{wire.Failed{Phase: os.Args[1], Message: err.Error()}}
	}
	if len(f.Message) > 2048 {
		f.Message = f.Message[:2048]
	}
	e := wire.Event{Failed: &f.Failed}
	say(e)
	_ = os.WriteFile(wire.Termination, wire.Line(e), 0o644)
	return 1
}
