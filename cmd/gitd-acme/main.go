// gitd-acme obtains certificates by ACME for gitd, which starts it. It is not for people.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gitd-io/gitd/internal/acme/obtain"
)

func main() {
	out := os.Stdout
	os.Stdout = os.Stderr // what libraries print is not for gitd
	if err := obtain.Run(context.Background(), os.Stdin, out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
