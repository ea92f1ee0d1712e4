// Command gitd-builder makes the builder image: see internal/build/builder/maker. gitd starts it where the cache does not have the image, so that
// what making it needs is not in the server.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gitd-io/gitd/internal/build/builder/maker"
	"github.com/gitd-io/gitd/internal/reexec"
)

func main() {
	reexec.Init()
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "gitd-builder is started by gitd: run gitd builder create")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := maker.Serve(ctx, os.Stdin, os.Stdout)
	stop()
	os.Exit(status)
}
