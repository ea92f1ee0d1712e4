package sshd

import (
	"context"
	"io"
	"strings"
)

// terminalInput passes on what a terminal sends, and ends the session at Ctrl-C, which arrives as a byte there.
func (ss *Session) terminalInput() io.Reader {
	r, w := io.Pipe()
	keys := make(chan []byte, 64)
	go func() {
		defer close(keys)
		buf := make([]byte, 1024)
		for {
			n, err := ss.in.Read(buf)
			if err != nil {
				return
			}
			for _, c := range buf[:n] {
				if c == 3 {
					ss.cancel(errInterrupted)
				}
			}
			select {
			case keys <- append([]byte(nil), buf[:n]...):
			default: // not read: typing ahead has its limits
			}
		}
	}()
	go func() {
		for k := range keys {
			if _, err := w.Write(k); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	context.AfterFunc(ss.ctx, func() { _ = r.CloseWithError(io.EOF) })
	return r
}

// terminalWriter ends lines as terminals want it.
type terminalWriter struct{ w io.Writer }

func (t *terminalWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(t.w, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
