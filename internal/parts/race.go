//go:build race

package parts

import "os"

// A program that is built with the race detector waits a second at its end, unless $GORACE says otherwise.
func init() {
	if v := os.Getenv("GORACE"); v != "" {
		detector = []string{"GORACE=" + v}
	}
}
