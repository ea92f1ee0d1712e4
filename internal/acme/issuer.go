// Package acme obtains certificates of authorities that speak ACME (RFC 8555) by a program beside gitd, gitd-acme, which runs while there are names to obtain for.
// gitd answers the challenges itself.
package acme

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/acme/wire"
	"github.com/gitd-io/gitd/internal/parts"
)

// Options configure an Issuer.
type Options struct {
	Config wire.Config
	DNS    func(name string) bool // whether a name is proven by the DNS alone
	// What the program reports; each must be quick.
	Certificate func(wire.Certificate)
	Tried       func(wire.Tried)
	// Challenge has a challenge answered, or no more, and calls done once when it is, or with why it cannot be: before it returns, or later.
	Challenge func(c wire.Challenge, done func(error))
	Log       func(format string, args ...any)
}

// Issuer obtains and renews certificates.
type Issuer struct {
	o    Options
	poke chan struct{} // there is something to say

	mu     sync.Mutex // mu guards the following, and is never held while something is said: the program may not read
	names  []wire.Name
	number int // the last one that a name was given
	again  map[string]bool
	done   []wire.Order // challenges that are answered, or no more
	runs   int          // which program runs
}

// New returns an Issuer. Run does its work.
func New(o Options) *Issuer {
	return &Issuer{o: o, poke: make(chan struct{}, 1), again: map[string]bool{}}
}

// Want says for which names there should be certificates, all of them each time. It does not wait. A name that was left out and comes back is a new one:
// its certificate is reported again, also where the program never heard of the list without it.
func (i *Issuer) Want(names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := make(map[string]int, len(i.names))
	for _, n := range i.names {
		before[n.Name] = n.Number
	}
	list := make([]wire.Name, len(names))
	for at, name := range names {
		number, ok := before[name]
		if !ok {
			i.number++
			number = i.number
		}
		list[at] = wire.Name{Name: name, Number: number, DNS: i.o.DNS(name)}
	}
	if slices.Equal(list, i.names) {
		return
	}
	i.names = list
	i.wake()
}

// Again has a name looked at at once.
func (i *Issuer) Again(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.ContainsFunc(i.names, func(n wire.Name) bool { return n.Name == name }) {
		i.again[name] = true
		i.wake()
	}
}

// wake has what is new said.
func (i *Issuer) wake() {
	select {
	case i.poke <- struct{}{}:
	default:
	}
}

// say writes to the program that runs what it has not been told, until it ends or takes no more. It alone waits for the program.
func (i *Issuer) say(in io.Writer, ended <-chan struct{}) {
	to := json.NewEncoder(in)
	orders := []wire.Order{{Config: &i.o.Config}}
	var told []wire.Name
	for first := true; ; first = false {
		i.mu.Lock()
		names := i.names
		if first || !slices.Equal(names, told) {
			orders = append(orders, wire.Order{Names: &names})
		}
		for name := range i.again {
			orders = append(orders, wire.Order{Again: name})
		}
		orders = append(orders, i.done...)
		told = names
		clear(i.again)
		i.done = nil
		i.mu.Unlock()
		for _, o := range orders {
			if to.Encode(o) != nil { // the next program is told all
				return
			}
		}
		orders = nil
		select {
		case <-i.poke:
		case <-ended:
			return
		}
	}
}

// Bounds of the pause before a program that ended is started again, and of a line that it says.
const (
	firstPause  = time.Second
	longPause   = 5 * time.Minute
	longestLine = 1 << 20
)

// Run keeps the program running while there are names, until ctx ends.
func (i *Issuer) Run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		i.mu.Lock()
		idle := len(i.names) == 0
		i.mu.Unlock()
		if idle {
			select {
			case <-i.poke:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := i.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > longPause {
			pause = firstPause
		}
		i.o.Log("certificates: gitd-acme ended, and is started again in %s: %v", pause, err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longPause)
	}
}

// once runs the program until it ends.
func (i *Issuer) once(ctx context.Context) error {
	program, err := parts.Path(parts.ACME)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal of a terminal is for gitd
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = func() error { return in.Close() } // the program ends when its input does
	cmd.WaitDelay = 3 * time.Second                 // then it is killed
	words := &lastWords{}
	cmd.Stderr = words
	if err := cmd.Start(); err != nil {
		return err
	}
	i.mu.Lock()
	i.done = nil // of challenges of an earlier program
	i.runs++
	i.mu.Unlock()
	ended := make(chan struct{})
	var saying sync.WaitGroup
	saying.Go(func() { i.say(in, ended) })
	i.listen(out)
	close(ended)
	_ = in.Close()
	_ = out.Close() // it must not wait for its reports to be read
	saying.Wait()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, words.text)
	}
	return nil
}

// listen takes the program's reports until it says no more.
func (i *Issuer) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	for lines.Scan() {
		var r wire.Report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			i.o.Log("certificates: what gitd-acme says cannot be read: %v", err)
			return
		}
		switch {
		case r.Certificate != nil:
			i.o.Certificate(*r.Certificate)
		case r.Tried != nil:
			i.o.Tried(*r.Tried)
		case r.Challenge != nil:
			i.o.Challenge(*r.Challenge, i.answered(r.Challenge.Number))
		}
	}
}

// answered returns what is called when a challenge of the program that runs is answered, or cannot be.
func (i *Issuer) answered(number int) func(error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	run := i.runs
	return func(err error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if run != i.runs { // another program's numbers are its own
			return
		}
		o := wire.Order{Done: number}
		if err != nil {
			o.Failed = err.Error()
		}
		i.done = append(i.done, o)
		i.wake()
	}
}

// lastWords keeps the end of what is written to it.
type lastWords struct{ text []byte }

func (w *lastWords) Write(b []byte) (int, error) {
	w.text = append(w.text, b...)
	if over := len(w.text) - 2000; over > 0 {
		w.text = w.text[over:]
	}
	return len(b), nil
}
