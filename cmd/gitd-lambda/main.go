// Command gitd-lambda runs a function that is written for AWS Lambda. It is in the app's image, beside the function: it starts the function's
// runtime, hands it invocations over the runtime API 2018-06-01, and makes an invocation of each HTTP request to $PORT.
//
//	gitd-lambda [--handler NAME] [--signature http|cloudevent] PROGRAM [ARGUMENT…]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/gitd-io/gitd/internal/lambda"
)

func main() {
	log.SetFlags(0)
	c, err := lambda.Parse(os.Args[1:], os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitd-lambda:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := lambda.Run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "gitd-lambda:", err)
		os.Exit(1)
	}
}
