package kube

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// PodLog reads the log of one container. It keeps its position: after a broken connection Read continues where it was, and
// hands out no line twice. It is for one goroutine at a time.
type PodLog struct {
	Client                    *Client
	Namespace, Pod, Container string
	Previous                  bool // of the container before its last restart

	last time.Time // of the last line
	seen int       // lines of that time
}

// Last is the time of the line that was handed out last.
func (l *PodLog) Last() time.Time { return l.last }

// maxLine is where a line that does not end is cut, in bytes.
const maxLine = 64 << 10

// Read hands out the new lines. With follow it continues until the container ends, else until the log's present end. The container
// must have started. RBAC: get on pods/log.
func (l *PodLog) Read(ctx context.Context, follow bool, line func(string)) error {
	q := l.Client.REST.Get().AbsPath("/api/v1/namespaces", l.Namespace, "pods", l.Pod, "log").Param("container", l.Container).Param("timestamps", "true")
	if follow {
		q = q.Param("follow", "true")
	}
	if l.Previous {
		q = q.Param("previous", "true")
	}
	if !l.last.IsZero() {
		q = q.Param("sinceTime", l.last.UTC().Truncate(time.Second).Format(time.RFC3339)) // seconds are all that it takes
	}
	body, err := q.Stream(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	defer context.AfterFunc(ctx, func() { _ = body.Close() })()
	last, seen, same := l.last, l.seen, 0 // lines up to the last one's time were handed out, and seen of that very time
	in := bufio.NewReaderSize(body, maxLine)
	for {
		text, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return err
		}
		whole := err == nil
		if len(text) > 0 {
			stamp, content, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), " ")
			at, malformed := time.Parse(time.RFC3339Nano, stamp)
			if malformed != nil { // what the kubelet itself says: "unable to retrieve container logs"
				return errors.New(string(text))
			}
			old := at.Before(last)
			if at.Equal(last) {
				same++
				old = same <= seen
			}
			if !old && (whole || !follow || errors.Is(err, bufio.ErrBufferFull)) { // else it comes again, whole
				if at.Equal(l.last) {
					l.seen++
				} else {
					l.last, l.seen = at, 1
				}
				line(content)
			}
			for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that was cut
				if text, err = in.ReadSlice('\n'); len(text) > 0 && !old {
					line(strings.TrimSuffix(string(text), "\n"))
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
