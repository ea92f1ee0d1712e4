// Command cluster runs a real Kubernetes with Knative Serving and Kourier on this machine, for tests and for trying things out: one
// node, built from the sources of the projects themselves, in namespaces of its own.
//
//	cluster build [--bare]  build what is missing, and start nothing
//	cluster up [--bare]     build what is missing, start, wait until all is available
//	cluster down [--bare]   end it and remove everything but the cache
//	cluster eventing        install Knative Eventing in the cluster that is up, wait until all is available
//	cluster status [--bare] say what runs; exit status 0 if all is well
//	cluster trust HOST:PORT let the node pull from a registry by plain HTTP
//	cluster stop PART       kill a part, as a crash would
//	cluster start PART      start it again and wait until it is healthy
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"
)

const usage = `usage: cluster build|up|down|status [--bare]
       cluster eventing
       cluster trust HOST:PORT
       cluster stop|start PART

Parts are etcd, apiserver, controller-manager, scheduler, kubelet, containerd, proxy, registry,
and node: kubelet and containerd with everything that runs in pods.
--bare is only etcd and the API server. $GITD_CLUSTER_DIR says where the cluster's state is.
`

var errUsage = errors.New("not a known command")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, " !    ", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	bare := slices.Contains(args, "--bare")
	args = slices.DeleteFunc(args, func(a string) bool { return a == "--bare" })
	if len(args) == 0 {
		return errUsage
	}
	command, args := args[0], args[1:]
	wanted := map[string]int{"build": 0, "up": 0, "down": 0, "status": 0, "eventing": 0, "trust": 1, "stop": 1, "start": 1,
		// what the program starts of itself
		"daemon": 1, "node-enter": 1, "node-init": 0, "node-manager": 0, "registry": 2}
	if n, known := wanted[command]; !known || n != len(args) {
		return errUsage
	}
	switch command {
	case "daemon":
		return daemon(Dir(args[0]), inherited(Dir(args[0])))
	case "node-enter":
		return enterNode(Dir(args[0]))
	case "node-init":
		return initNode()
	case "node-manager":
		return manageNode()
	case "registry":
		return serveRegistry(args[0], args[1])
	}
	dir, err := stateDir(bare)
	if err != nil {
		return err
	}
	switch command {
	case "build":
		_, _, err := fill(ctx, bare, newStopwatch(os.Stdout))
		return err
	case "up":
		return up(ctx, dir, bare, os.Stdout)
	case "down":
		return down(dir)
	case "status":
		return status(ctx, dir, os.Stdout)
	case "eventing":
		return eventing(ctx, dir, os.Stdout)
	case "trust":
		if !dir.running() {
			return fmt.Errorf("%w in %s", errDown, dir)
		}
		return trust(dir, args[0])
	default: // stop, start
		return dir.control(ctx, "POST", "/"+command+"/"+args[0], nil)
	}
}

// inherited are the listening sockets that `up` handed to the daemon.
func inherited(dir Dir) []*os.File {
	s, err := dir.settings()
	if err != nil {
		return nil
	}
	n := 3
	if s.Bare {
		n = 1
	}
	var files []*os.File
	for fd := 3; fd < 3+n; fd++ {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "listener"))
	}
	return files
}
