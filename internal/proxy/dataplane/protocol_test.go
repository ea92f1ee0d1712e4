package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// h2cApp is a server with these protocols, whose answer names the one that was spoken.
func h2cApp(t *testing.T, http1 bool) string {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Proto, b)
	})}
	s.Config.Protocols.SetHTTP1(http1)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// An app that speaks HTTP/2 alone is found to do so by the first request, and is asked in it from then on.
func TestTurnsOutToSpeakH2C(t *testing.T) {
	var learned atomic.Int64
	r := revisionAt(h2cApp(t, false), false, RevisionOptions{Timeout: time.Minute, Learned: func() { learned.Add(1) }})
	front := serve(t, route(map[string]Split{name: {{r, 100}}}))
	for _, inbound := range []bool{false, true} {
		if code, body := get(t, client(t, front, inbound), "http://"+name); code != 200 || body != "HTTP/2.0 " {
			t.Errorf("%d %s", code, body)
		}
		res, err := client(t, front, inbound).Post("http://"+name, "text/plain", bytes.NewReader([]byte("body")))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "HTTP/2.0 body" {
			t.Errorf("POST: %d %s", res.StatusCode, b)
		}
	}
	if learned.Load() != 1 {
		t.Errorf("learned %d times", learned.Load())
	}
}

// An app that speaks both is asked in HTTP/1, but for gRPC. One that speaks HTTP/1 is not asked what else it speaks.
func TestOtherProtocolsStay(t *testing.T) {
	r := revisionAt(h2cApp(t, true), false, RevisionOptions{Timeout: time.Minute})
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), true)
	if _, body := get(t, c, "http://"+name); body != "HTTP/1.1 " {
		t.Error(body)
	}
	res, err := c.Post("http://"+name, "application/grpc+proto", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(b) != "HTTP/2.0 " {
		t.Errorf("gRPC: %s", b)
	}

	var connections atomic.Int64
	addr, _ := rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	for _, o := range []RevisionOptions{{}, {HTTP1: true}} {
		r = NewRevision(o, time.Now())
		r.SetInstances([]*Instance{NewInstance("a", false, func(ctx context.Context) (net.Conn, error) {
			connections.Add(1)
			return to(addr)(ctx)
		})})
		connections.Store(0)
		c = client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
		get(t, c, "http://"+name)
		if n := connections.Load(); n != 1 {
			t.Errorf("%d connections for one request", n)
		}
	}
}

// An app that breaks off requests before it has answered any is asked what it speaks, but not all the time.
func TestBrokenAppIsAskedSeldom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var prefaces atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1000)
			n, _ := c.Read(b)
			if bytes.HasPrefix(b[:n], []byte("PRI ")) {
				prefaces.Add(1)
			}
			c.Close()
		}
	}()
	r := revisionAt(l.Addr().String(), false, RevisionOptions{Timeout: time.Minute})
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
	began := time.Now()
	for range 50 {
		if code, _ := get(t, c, "http://"+name); code != 502 {
			t.Fatal(code)
		}
	}
	if n := prefaces.Load(); n < 1 || n > 1+int64(time.Since(began)/askAgain) {
		t.Errorf("asked %d times in %s", n, time.Since(began))
	}
}

// echo is a gRPC service: Echo answers with what it got, Fail with a status and details of its own, Slow after its deadline, Talk says each word back.
var echo = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		method("Echo", func(_ context.Context, v *wrapperspb.BytesValue) (any, error) { return v, nil }),
		method("Fail", func(ctx context.Context, _ *wrapperspb.BytesValue) (any, error) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("x-why", "none left"))
			return nil, status.Error(codes.ResourceExhausted, "no more of that")
		}),
		method("Slow", func(ctx context.Context, _ *wrapperspb.BytesValue) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		for {
			var v wrapperspb.BytesValue
			if err := s.RecvMsg(&v); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(&v); err != nil {
				return err
			}
		}
	}}},
}

func method(name string, f func(context.Context, *wrapperspb.BytesValue) (any, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var v wrapperspb.BytesValue
		if err := decode(&v); err != nil {
			return nil, err
		}
		return f(ctx, &v)
	}}
}

// A real client and a real server of gRPC, with gitd between them, by a setting and without one.
func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&echo, nil)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	for _, set := range []bool{false, true} {
		r := revisionAt(l.Addr().String(), set, RevisionOptions{Timeout: time.Minute})
		front := serve(t, route(map[string]Split{name: {{r, 100}}}))
		if !set { // the health check comes first: a GET that a gRPC server refuses, in HTTP/2
			if code, body := get(t, client(t, front, false), "http://"+name); code >= 500 {
				t.Errorf("GET: %d %s", code, body)
			}
		}
		c, err := grpc.NewClient("passthrough:///"+front, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(name))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		talk(ctx, t, c)
	}
}

// A call that gitd itself must refuse ends with a status of gRPC.
func TestGRPCRefusals(t *testing.T) {
	none := NewRevision(RevisionOptions{App: "hello", Timeout: 50 * time.Millisecond}, time.Now())
	front := serve(t, route(map[string]Split{name: {{none, 100}}}))
	for authority, want := range map[string]codes.Code{name: codes.DeadlineExceeded, "other.localhost": codes.Unimplemented} {
		c, err := grpc.NewClient("passthrough:///"+front, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.Invoke(t.Context(), "/test.Echo/Echo", wrapperspb.Bytes(nil), &wrapperspb.BytesValue{})
		if status.Code(err) != want {
			t.Errorf("%s: %v", authority, err)
		}
	}
	if got := grpcMessage("50% of \"é\""); got != "50%25 of \"%C3%A9\"" {
		t.Error(got)
	}
	for v, want := range map[string]time.Duration{"": 0, "5": 0, "50m": 50 * time.Millisecond, "1H": time.Hour, "99999999H": 0, "x1S": 0, "7n": 7, "1s": 0} {
		q := &http.Request{ProtoMajor: 2, Header: http.Header{"Content-Type": {"application/grpc"}, "Grpc-Timeout": {v}}}
		if got := grpcTimeout(q); got != want {
			t.Errorf("%q: %s", v, got)
		}
	}
}

func talk(ctx context.Context, t *testing.T, c *grpc.ClientConn) {
	t.Helper()
	var got wrapperspb.BytesValue
	large := bytes.Repeat([]byte("large "), 500_000)
	if err := c.Invoke(ctx, "/test.Echo/Echo", wrapperspb.Bytes(large), &got); err != nil || !bytes.Equal(got.Value, large) {
		t.Errorf("Echo: %d bytes, %v", len(got.Value), err)
	}
	var trailer metadata.MD
	err := c.Invoke(ctx, "/test.Echo/Fail", wrapperspb.Bytes(nil), &got, grpc.Trailer(&trailer))
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "no more of that" || len(trailer["x-why"]) != 1 {
		t.Errorf("Fail: %v, %v", err, trailer)
	}
	if err := c.Invoke(ctx, "/test.Echo/Missing", wrapperspb.Bytes(nil), &got); status.Code(err) != codes.Unimplemented {
		t.Errorf("Missing: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.Invoke(short, "/test.Echo/Slow", wrapperspb.Bytes(nil), &got); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("Slow: %v", err)
	}
	stream, err := c.NewStream(ctx, &echo.Streams[0], "/test.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		word := []byte(fmt.Sprint("word ", i))
		if err := stream.SendMsg(wrapperspb.Bytes(word)); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&got); err != nil || !bytes.Equal(got.Value, word) {
			t.Fatalf("word %d: %q, %v", i, got.Value, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&got); !errors.Is(err, io.EOF) {
		t.Errorf("the end of the stream: %v", err)
	}
}
