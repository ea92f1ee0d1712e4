package receive

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/gitd-io/gitd/internal/app"
)

// transfer tells about a pack that takes long.
type transfer struct {
	log   *app.Log
	quiet bool // the client wants no percentages; git asks for this whenever its output is no terminal, so the story itself stays
	title string
	next  time.Time
	begun bool
}

// progressEvery is how long a pack may take in silence, and the time between two lines after that.
const progressEvery = 2 * time.Second

func (p *push) progress(branch, commit string) *transfer {
	return &transfer{log: p.log, quiet: p.request.has(capability.Quiet), title: fmt.Sprintf("Receiving %s (%s %.7s)", p.name, branch, commit), next: time.Now().Add(progressEvery)}
}

func (t *transfer) update(phase string, done, of int) {
	now := time.Now()
	if t.quiet || now.Before(t.next) {
		return
	}
	if !t.begun {
		t.log.Step("%s", t.title)
		t.begun = true
	}
	t.next = now.Add(progressEvery)
	t.log.Detail("%s", progressText(phase, done, of))
}

// progressText is a line of progress: "Indexing objects:  45% (243k/542k)". It moves no cursor, which new clients would mask.
func progressText(phase string, done, of int) string {
	return fmt.Sprintf("%s: %3d%% (%s/%s)", phase, int64(done)*100/int64(max(of, 1)), thousands(done), thousands(of))
}

// thousands writes a count short: 999, 9.9k, 243k.
func thousands(n int) string {
	switch {
	case n < 1000:
		return strconv.Itoa(n)
	case n < 10_000:
		return fmt.Sprintf("%d.%dk", n/1000, n%1000/100)
	default:
		return fmt.Sprintf("%dk", n/1000)
	}
}
