package domain

import (
	"context"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/certificate"
)

// ownAuthority is the Issuer that is an authority of one's own.
type ownAuthority struct {
	m      *Manager
	ca     *certificate.Authority
	mu     sync.Mutex
	wanted []string
	poke   chan struct{}
}

// lookEvery is how often an authority of one's own looks for what is to be renewed.
const lookEvery = time.Minute

// UseAuthority has an authority of one's own issue all certificates until ctx ends. It is called before Load.
func (m *Manager) UseAuthority(ctx context.Context, ca *certificate.Authority) {
	o := &ownAuthority{m: m, ca: ca, poke: make(chan struct{}, 1)}
	m.o.Issuer = o
	go func() {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			case <-o.poke:
			}
			o.issue()
		}
	}()
}

// Want implements Issuer.
func (o *ownAuthority) Want(names []string) {
	o.mu.Lock()
	o.wanted = names
	o.mu.Unlock()
	o.Again("")
}

// Again implements Issuer.
func (o *ownAuthority) Again(string) {
	select {
	case o.poke <- struct{}{}:
	default:
	}
}

// issue makes what is missing, and what is due.
func (o *ownAuthority) issue() {
	o.mu.Lock()
	wanted := o.wanted
	o.mu.Unlock()
	for _, name := range wanted {
		o.m.mu.Lock()
		have := o.m.c.pairs[name]
		o.m.mu.Unlock()
		if have != nil && !have.Due(o.m.o.Now()) && have.Leaf.CheckSignatureFrom(o.ca.Certificate()) == nil {
			continue
		}
		p, err := o.ca.Issue(name)
		if err != nil {
			o.m.Tried(name, Attempt{Failed: err.Error()})
			continue
		}
		o.m.Obtained(name, p)
	}
}
