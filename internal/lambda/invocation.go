package lambda

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	errMode     = "Runtime.InvalidResponseModeHeader"
)

// errBusy says that an invocation has not had its turn in time.
var errBusy = errors.New("the function is busy with other requests")

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
	broke  func() string // of a stream that was read to its end: what the runtime says that has failed meanwhile, "" for nothing
	until  time.Time     // reading the stream fails from then on
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

// timedOut is the result of an invocation that took too long.
func (b *broker) timedOut(inv *invocation) result {
	return failed(inv, errTimeout, fmt.Sprintf("Task timed out after %.2f seconds", b.timeout.Seconds()))
}

// functionError is what functions tell of an error.
type functionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// broker hands invocations to the runtime, one at a time.
type broker struct {
	timeout time.Duration
	kill    func(*invocation) // ends the runtime, which has had that invocation for longer than timeout
	turn    chan struct{}     // has room for one: who is in it may invoke
	pending chan *invocation  // to the runtime that asks for the next

	mu sync.Mutex
	// mu guards the following.
	life    context.Context // of the runtime that runs; nil before the first
	end     context.CancelFunc
	current *invocation // what the runtime is to answer
	busy    *invocation // what it works on: until it asks for the next, the answer may be given or under way
	sending *invocation // what it sends the answer of
	limit   *time.Timer // ends the runtime that is busy for too long
	asked   bool        // the runtime that runs has asked for an invocation
	broken  bool        // it has said that it could not load the function
	ready   func()      // to be called when it does
}

func newBroker(timeout time.Duration, kill func(*invocation)) *broker {
	return &broker{timeout: timeout, kill: kill, turn: make(chan struct{}, 1), pending: make(chan *invocation)}
}

// began notes that a runtime was started. ready is called when it asks for its first invocation.
func (b *broker) began(ready func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life, b.end = context.WithCancel(context.Background())
	b.asked, b.broken, b.ready, b.sending = false, false, ready, nil
}

// ended notes that the runtime has ended. What it worked on has failed.
func (b *broker) ended(how string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
	b.free()
	if b.current != nil {
		b.current.result <- failed(b.current, errExit, "Runtime exited with error: "+how)
		b.current = nil
	}
}

// free notes that the runtime works on nothing. b.mu is held.
func (b *broker) free() {
	if b.busy != nil {
		b.limit.Stop()
		b.busy = nil
	}
}

// expire ends a runtime that is still busy with an invocation. That holds b.mu, so that no other runtime has begun by then.
func (b *broker) expire(inv *invocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy != inv {
		return
	}
	b.busy = nil
	if b.current == inv {
		b.current = nil
		inv.result <- b.timedOut(inv)
	}
	b.end() // before it is gone it may ask for an invocation, and gets none
	b.kill(inv)
}

// next waits for an invocation, for the runtime; one that has not answered the last gets that again. false says that the runtime may not ask, for it could not load the
// function, or its last answer is under way; nil without it that ctx or the runtime ended.
func (b *broker) next(ctx context.Context) (*invocation, bool) {
	b.mu.Lock()
	if b.broken || b.sending != nil || b.current != nil {
		defer b.mu.Unlock()
		return b.current, !b.broken && b.sending == nil
	}
	b.free()
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
			gone := life.Err() != nil || ctx.Err() != nil
			if gone || b.current != nil || b.sending != nil {
				b.mu.Unlock()
				inv.result <- result{again: true}
				return nil, gone
			}
			inv.deadline = time.Now().Add(b.timeout)
			b.current, b.busy = inv, inv
			b.limit = time.AfterFunc(b.timeout, func() { b.expire(inv) })
			b.mu.Unlock()
			return inv, true
		}
	}
}

// take takes the invocation that the runtime works on, to be answered. nil: that ID is not its, or with answered, it has been answered.
func (b *broker) take(id string) (inv *invocation, answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil || b.current.id != id {
		return nil, b.current == nil && b.busy != nil && b.busy.id == id
	}
	inv, b.current = b.current, nil
	b.sending = inv
	return inv, false
}

// sent notes that the runtime has sent the answer that it took inv for, or has failed to. One that has done so too late is ended: what it sent is not read after the
// deadline, and it must not seem to have been in time because it asks for the next before the limit is noticed.
func (b *broker) sent(inv *invocation) {
	b.mu.Lock()
	if b.sending == inv { // and no runtime has begun since
		b.sending = nil
	}
	b.mu.Unlock()
	if !time.Now().Before(inv.deadline) {
		b.expire(inv)
	}
}

// fail notes that the runtime could not load the function. false: it had loaded it, or has said so before.
func (b *broker) fail() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked || b.broken {
		return false
	}
	b.broken = true
	return true
}

// invoke calls the function. The error is errBusy, or ctx's: a function that has the invocation works on it to its end even if no client waits for
// the answer. It waits twice the time of an invocation: the one before may take that long, and a runtime that is started again as well.
func (b *broker) invoke(ctx context.Context, payload []byte, client, trace string) (*invocation, result, error) {
	inv := &invocation{id: newID(), payload: payload, client: client, trace: trace, result: make(chan result, 1)}
	if inv.trace == "" {
		inv.trace = newTrace(time.Now())
	}
	wait := time.NewTimer(2 * b.timeout)
	defer wait.Stop()
	select {
	case b.turn <- struct{}{}:
	case <-wait.C:
		return inv, result{}, errBusy
	case <-ctx.Done():
		return inv, result{}, ctx.Err()
	}
	defer func() { <-b.turn }()
	for {
		select {
		case b.pending <- inv:
		case <-wait.C:
			return inv, result{}, errBusy
		case <-ctx.Done():
			return inv, result{}, ctx.Err()
		}
		if r := <-inv.result; !r.again { // it comes: the runtime that has the invocation answers, ends, or is ended
			return inv, r, nil
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
