package lambda

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// The types of errors that come from here, and not from the function: AWS Lambda's names.
const (
	errExit     = "Runtime.ExitError"
	errTimeout  = "Sandbox.Timedout"
	errTooLarge = "Function.ResponseSizeTooLarge"
	errShutdown = "Sandbox.Shutdown"
)

// invocation is one call of the function.
type invocation struct {
	id       string
	payload  []byte
	client   string // the client's context, JSON; may be empty
	trace    string
	deadline time.Time
	result   chan result // has room for one
}

// result is how an invocation ended.
type result struct {
	body        []byte
	contentType string
	errorType   string // "" for an answer
	again       bool   // the runtime ended before it had the invocation

	stream io.Reader     // what a streamed answer has; nil for one that is complete
	done   chan struct{} // closed when the stream has been read
}

// failed is the result of an invocation that the function did not end itself.
func failed(inv *invocation, kind, message string) result {
	body, err := json.Marshal(functionError{"RequestId: " + inv.id + " Error: " + message, kind})
	if err != nil {
		body = []byte("{}") // two strings: cannot fail
	}
	return result{body: body, contentType: "application/json", errorType: kind}
}

// functionError is what functions tell of an error.
type functionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// broker hands invocations to the runtime, one at a time.
type broker struct {
	timeout time.Duration
	turn    chan struct{}    // has room for one: who is in it may invoke
	pending chan *invocation // to the runtime that asks for the next

	mu sync.Mutex
	// mu guards the following.
	life    context.Context // of the runtime that runs; nil before the first
	end     context.CancelFunc
	current *invocation // what the runtime works on
	asked   bool        // the runtime that runs has asked for an invocation
	ready   func()      // to be called when it does
}

func newBroker(timeout time.Duration) *broker {
	return &broker{timeout: timeout, turn: make(chan struct{}, 1), pending: make(chan *invocation)}
}

// began notes that a runtime was started. ready is called when it asks for its first invocation.
func (b *broker) began(ready func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life, b.end = context.WithCancel(context.Background())
	b.asked, b.ready = false, ready
}

// ended notes that the runtime has ended. What it worked on has failed.
func (b *broker) ended(how string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
	if b.current != nil {
		b.current.result <- failed(b.current, errExit, "Runtime exited with error: "+how)
		b.current = nil
	}
}

// next waits for an invocation, for the runtime. false says that the runtime works on one already; nil without it that ctx or the runtime ended.
func (b *broker) next(ctx context.Context) (*invocation, bool) {
	b.mu.Lock()
	if b.current != nil {
		b.mu.Unlock()
		return nil, false
	}
	life := b.life
	if !b.asked {
		b.asked = true
		b.ready()
	}
	b.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return nil, true
		case <-life.Done():
			return nil, true
		case inv := <-b.pending:
			b.mu.Lock()
			if life.Err() != nil || ctx.Err() != nil || b.current != nil {
				b.mu.Unlock()
				inv.result <- result{again: true}
				return nil, true
			}
			inv.deadline = time.Now().Add(b.timeout)
			b.current = inv
			b.mu.Unlock()
			return inv, true
		}
	}
}

// take takes the invocation that the runtime works on, to be answered. nil says that there is none of that ID.
func (b *broker) take(id string) *invocation {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil || b.current.id != id {
		return nil
	}
	inv := b.current
	b.current = nil
	return inv
}

// initialized tells whether the runtime has asked for an invocation.
func (b *broker) initialized() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// invoke calls the function. kill ends the runtime when that has not answered in time. The error is ctx's: a function that has the invocation
// works on it to its end even if no client waits for the answer.
func (b *broker) invoke(ctx context.Context, payload []byte, client, trace string, kill func()) (*invocation, result, error) {
	inv := &invocation{id: newID(), payload: payload, client: client, trace: trace, result: make(chan result, 1)}
	if inv.trace == "" {
		inv.trace = newTrace(time.Now())
	}
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return inv, result{}, ctx.Err()
	}
	defer func() { <-b.turn }()
	for {
		select {
		case b.pending <- inv:
		case <-ctx.Done():
			return inv, result{}, ctx.Err()
		}
		limit := time.NewTimer(b.timeout)
		select {
		case r := <-inv.result:
			limit.Stop()
			if r.again {
				continue
			}
			return inv, r, nil
		case <-limit.C:
			if b.take(inv.id) == nil { // it is being answered right now
				return inv, <-inv.result, nil
			}
			kill()
			return inv, failed(inv, errTimeout, fmt.Sprintf("Task timed out after %.2f seconds", b.timeout.Seconds())), nil
		}
	}
}

// newID is an ID for an invocation, in the form of a UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newTrace is the ID of a trace that begins here and is not sampled.
func newTrace(now time.Time) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("Root=1-%08x-%s;Sampled=0", now.Unix(), hex.EncodeToString(b[:]))
}

// answer writes a JSON document.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
