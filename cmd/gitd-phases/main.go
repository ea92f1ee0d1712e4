// Command gitd-phases detects and builds in the container of a build in a sandbox, in one process: see internal/build/sandbox/phases. The server
// mounts it into builder images that have the lifecycle that it is made of. It is a program of its own because its start is part of each push.
package main

import (
	"os"

	"github.com/gitd-io/gitd/internal/build/sandbox/phases"
)

func main() { os.Exit(phases.Main(os.Args[1:], os.Stdin)) }
