// Command gitd-helper reads and writes images for a build in a sandbox: see internal/build/sandbox/wire. The server starts it for each build,
// and it is a program of its own so that the lifecycle, with the credential helpers of clouds that it brings, is not in the server.
package main

import (
	"fmt"
	"os"

	"github.com/gitd-io/gitd/internal/build/sandbox/helper"
)

func main() {
	if len(os.Args) != 1 {
		fmt.Fprintln(os.Stderr, "gitd-helper is started by gitd, for a build")
		os.Exit(2)
	}
	os.Exit(helper.Main())
}
