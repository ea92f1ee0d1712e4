// Command events tells what an application of five functions does (examples/pictures) on a throwaway server: they are pushed, a signed webhook brings a
// picture, and each step's result is shown; so are dead letters, and their retry. It ends with a status other than 0 unless everything that the summary lists holds.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitd-io/gitd/test/stage"
)

func main() { stage.Main(demo) }

// story is told on a stage.
type story struct {
	*stage.Stage
	ctx    context.Context
	url    string // of the webhook
	secret string // that signs it
	held   []check
}

// check is a line of the summary.
type check struct {
	what string
	held bool
}

// functions are pushed in this order: what an event goes to is there before what sends it.
var functions = []string{"lost", "notify", "store", "thumbnail", "upload"}

func demo(ctx context.Context) (err error) {
	st, err := stage.New("bin/gitd")
	if err != nil {
		return err
	}
	s := &story{Stage: st, ctx: ctx}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, chapter := range []func() error{s.begin, s.push, s.picture, s.refused, s.noChannel, s.noPicture} {
		if err := chapter(); err != nil {
			return errors.Join(err, s.summary())
		}
	}
	return s.summary()
}

// holds notes for the summary whether something is as it should be.
func (s *story) holds(held bool, format string, args ...any) {
	s.held = append(s.held, check{fmt.Sprintf(format, args...), held})
}

// summary prints what held and what did not, and fails for the latter.
func (s *story) summary() error {
	stage.Title("Summary")
	failed := 0
	for _, c := range s.held {
		mark := "ok    "
		if !c.held {
			mark = "FAILED"
			failed++
		}
		fmt.Printf("  %s  %s\n", mark, c.what)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d did not hold", failed, len(s.held))
	}
	fmt.Printf("\nall %d held\n", len(s.held))
	return nil
}
