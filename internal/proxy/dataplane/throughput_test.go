package dataplane

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

const (
	benchRequest = "GET /path?x=1 HTTP/1.1\r\nHost: " + name + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
	benchAnswer  = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: text/plain; charset=utf-8\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n\r\nhello, world"
)

// fixedApp answers each read with the same bytes, and allocates nothing for it.
func fixedApp(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := []byte(benchAnswer)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := make([]byte, 4096)
				for {
					if _, err := c.Read(in); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkRequest measures a small request and its answer through the proxy: what it allocates, and the processor's time with that of client and app.
func BenchmarkRequest(b *testing.B) {
	r := revisionAt(fixedApp(b), false, RevisionOptions{Timeout: time.Minute, HTTP1: true})
	front := serveOn(b, route(map[string]Split{name: {{r, 100}}}))
	request := []byte(benchRequest)
	b.ReportAllocs()
	b.SetParallelism(16)
	began := processor()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", front)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		in := make([]byte, len(benchAnswer))
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if _, err := io.ReadFull(c, in); err != nil {
				b.Error(err, string(in))
				return
			}
		}
	})
	b.ReportMetric(float64(processor()-began)/float64(b.N), "cpu-ns/op")
}

// processor is the processor's time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
