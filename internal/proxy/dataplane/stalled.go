package dataplane

import (
	"cmp"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

// A client that takes nothing of what is sent to it would hold an instance's place for as long as it likes, since an answer has no deadline. One that takes a little now and
// then stays. A download that a person pauses is taken up again by a request for the rest.

// stalledTime is Limits.Stalled.
const stalledTime = 5 * time.Minute

func (l *Limits) stalled() time.Duration { return cmp.Or(l.Stalled, stalledTime) }

// endStalled has the kernel end a connection that does not move for so long. The listener cannot hand that down where it speaks MPTCP (Linux 6.18).
func endStalled(tcp *net.TCPConn, after time.Duration) {
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
		})
	}
}

// unstalled is an answer over HTTP/2, where one stream may stand still on a connection that moves: a write that waits for too long ends the stream. A deadline would also
// end a stream on which nothing is to be written.
type unstalled struct {
	http.ResponseWriter
	after time.Duration
	timer *time.Timer
}

// Unwrap is for http.ResponseController.
func (u *unstalled) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// Write is as http.ResponseWriter has it.
func (u *unstalled) Write(b []byte) (int, error) {
	defer u.watch().Stop()
	return u.ResponseWriter.Write(b)
}

// Flush is as http.Flusher has it.
func (u *unstalled) Flush() { _ = u.FlushError() }

// FlushError is Flush for http.ResponseController.
func (u *unstalled) FlushError() error {
	defer u.watch().Stop()
	return http.NewResponseController(u.ResponseWriter).Flush()
}

// watch begins the time that a write may take.
func (u *unstalled) watch() *time.Timer {
	if u.timer == nil {
		control := http.NewResponseController(u.ResponseWriter)
		u.timer = time.AfterFunc(u.after, func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) })
	} else {
		u.timer.Reset(u.after)
	}
	return u.timer
}
