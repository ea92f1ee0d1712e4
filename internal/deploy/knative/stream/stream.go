// Package stream is what gitd and gitd-pod say to each other over the one connection that a cluster gives to a run's client: frames for its streams, its
// signals and its end. A cluster's own stream loses what a container writes right before it ends, and has no signals and no end of its own; here the
// container lives until gitd has said that it has the end.
//
// gitd sends Start, then Input up to InputEnd, Size and Signal at any time, and Bye for an End. gitd-pod sends Stdout and Stderr, and End after the last of
// them. Neither sends more of a stream than the other has room for: each says with Room how many bytes more it takes, so that a signal never waits behind
// input that is not read.
package stream

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Kind is what a frame is.
type Kind byte

// Kinds, and what they carry.
const (
	Start    Kind = iota + 1 // JSON of a Command
	Input                    // bytes for the command
	InputEnd                 // nothing: its input ends
	Size                     // JSON of a Window
	Signal                   // JSON of a number
	Closed                   // JSON of a Kind, Stdout or Stderr: it is read no more
	Bye                      // nothing: gitd has the End
	Stdout                   // bytes of the command
	Stderr                   // bytes of the command
	Room                     // JSON of a number: bytes more of Input, or of Stdout and Stderr together
	End                      // JSON of an Exit
	Alive                    // nothing: what is between the two does not take the connection for an idle one
)

// First arguments of gitd-pod.
const (
	Install = "install" // copies itself into the directory that the second argument names
	Run     = "run"     // is process 1 of the container of a run, and speaks to gitd
)

// Program is the name of gitd-pod in the directory that Install fills.
const Program = "gitd-pod"

// Bounds of a connection.
const (
	Chunk = 32 << 10  // bytes of a frame
	Ahead = 512 << 10 // bytes under way in each direction before the first Room
	large = 1 << 20   // bytes of a Command
)

// Command is what gitd-pod runs.
type Command struct {
	Args     []string `json:"args"`
	Terminal *Window  `json:"terminal,omitempty"`
	Term     string   `json:"term,omitempty"`  // $TERM; "" leaves it as it is
	Grace    int      `json:"grace,omitempty"` // milliseconds from SIGTERM to SIGKILL when gitd is gone
}

// Window is a terminal's size in characters.
type Window struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// Exit is how a command ended.
type Exit struct {
	Code        int    `json:"code"`
	Signal      int    `json:"signal,omitempty"`
	OutOfMemory bool   `json:"outOfMemory,omitempty"`
	Unsure      bool   `json:"unsure,omitempty"` // it was killed, and why is not known here
	Error       string `json:"error,omitempty"`  // it did not start
}

// Conn is one side of a connection. Send can be called from several goroutines.
type Conn struct {
	r    *bufio.Reader
	mu   sync.Mutex
	w    io.Writer
	room *room // of what this side may send
}

// New returns a side that reads from r and writes to w.
func New(r io.Reader, w io.Writer) *Conn {
	return &Conn{r: bufio.NewReaderSize(r, 2*Chunk), w: w, room: newRoom(Ahead)}
}

const header = 5

// Send sends bytes.
func (c *Conn) Send(k Kind, b []byte) error {
	frame := make([]byte, header, header+len(b))
	frame[0] = byte(k)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(b)))
	frame = append(frame, b...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.w.Write(frame)
	return err
}

// SendJSON sends a value.
func (c *Conn) SendJSON(k Kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Send(k, b)
}

// Receive returns the next frame but for Room and Alive, which it deals with itself. After an error Copy waits for room no longer.
func (c *Conn) Receive() (Kind, []byte, error) {
	k, b, err := c.receive()
	if err != nil {
		c.room.close()
	}
	return k, b, err
}

func (c *Conn) receive() (Kind, []byte, error) {
	for {
		var h [header]byte
		if _, err := io.ReadFull(c.r, h[:]); err != nil {
			return 0, nil, err
		}
		k, n := Kind(h[0]), binary.BigEndian.Uint32(h[1:])
		most := uint32(Chunk)
		if k == Start {
			most = large
		}
		if n > most {
			return 0, nil, fmt.Errorf("a frame of kind %d has %d bytes", k, n)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return 0, nil, err
		}
		switch k {
		case Alive:
		case Room:
			var more int
			if err := json.Unmarshal(b, &more); err != nil || more < 0 || more > Ahead {
				return 0, nil, fmt.Errorf("room for %q bytes: %v", b, err)
			}
			c.room.give(more)
		default:
			return k, b, nil
		}
	}
}

// Copy sends what r has, up to its end, as the other side has room for it. It returns r's error, nil at its end, or that of sending.
func (c *Conn) Copy(k Kind, r io.Reader) error {
	b := make([]byte, Chunk)
	for {
		n, err := r.Read(b)
		for rest := b[:n]; len(rest) > 0; {
			m := c.room.take(len(rest))
			if m == 0 {
				return io.ErrClosedPipe
			}
			if err := c.Send(k, rest[:m]); err != nil {
				return err
			}
			rest = rest[m:]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// room is how many bytes may be sent.
type room struct {
	mu     sync.Mutex
	more   sync.Cond
	left   int
	closed bool
}

func newRoom(n int) *room {
	r := &room{left: n}
	r.more.L = &r.mu
	return r
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += n
	r.more.Broadcast()
}

// take waits until there is room, and returns for how much of n; 0 when none comes any more.
func (r *room) take(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.left <= 0 && !r.closed {
		r.more.Wait()
	}
	if r.closed {
		return 0
	}
	n = min(n, r.left)
	r.left -= n
	return n
}

func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.more.Broadcast()
}

// Queue passes what was received on to a writer that may be slow, and has the other side told of the room. What is under way is bounded by the other
// side's room, so that put never waits.
type Queue struct {
	mu     sync.Mutex
	more   sync.Cond
	frames [][]byte
	held   int // bytes in frames
	ended  bool
	done   chan struct{} // closed when all is written, or nothing can be
}

// NewQueue returns a Queue to w. wrote is called after each write, with the bytes; failed once, with the error of a write: nothing is written after it.
func NewQueue(w io.Writer, wrote func(n int), failed func(error)) *Queue {
	q := &Queue{done: make(chan struct{})}
	q.more.L = &q.mu
	go q.run(w, wrote, failed)
	return q
}

// Put adds bytes. It returns false for a peer that sends more than there was room for.
func (q *Queue) Put(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held += len(b); q.held > Ahead {
		return false
	}
	q.frames = append(q.frames, b)
	q.more.Signal()
	return true
}

// End says that nothing is added any more. The channel is closed when all is written.
func (q *Queue) End() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.more.Signal()
	return q.done
}

func (q *Queue) run(w io.Writer, wrote func(int), failed func(error)) {
	defer close(q.done)
	broken := false
	for {
		q.mu.Lock()
		for len(q.frames) == 0 && !q.ended {
			q.more.Wait()
		}
		if len(q.frames) == 0 {
			q.mu.Unlock()
			return
		}
		b := q.frames[0]
		q.frames = q.frames[1:]
		q.mu.Unlock()
		if !broken {
			if _, err := w.Write(b); err != nil {
				broken = true
				failed(err)
			}
		}
		q.mu.Lock()
		q.held -= len(b)
		q.mu.Unlock()
		wrote(len(b))
	}
}
