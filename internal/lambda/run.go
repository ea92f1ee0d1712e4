package lambda

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

// Run runs the function until ctx ends or its runtime cannot be run. It listens for requests when the runtime has asked for its first invocation: a
// connection before that is refused, and so the platform knows when the function is loaded. When ctx ends, the requests under way are
// answered, and then the runtime gets SIGTERM.
func Run(ctx context.Context, c Config) error {
	if c.Log == nil {
		c.Log = log.Printf
	}
	runtimes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer runtimes.Close()
	p := &process{config: c, api: runtimes.Addr().String()}
	b := newBroker(c.Timeout, func(inv *invocation) {
		c.Log("invocation %s took more than %s: the runtime is ended", inv.id, c.Timeout)
		p.kill()
	})
	p.broker = b
	a := &api{broker: b, arn: "arn:aws:lambda:us-east-1:000000000000:function:" + c.Name, failed: p.failed}
	// No limits of time on these connections, which come from this container alone, but for what is read of an answer: the invocation's own.
	apiServer := &http.Server{Handler: a.Handler()}
	go func() { _ = apiServer.Serve(runtimes) }()
	defer apiServer.Close()

	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- p.run(func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		return err
	case <-ctx.Done():
		return p.finish(context.Background(), ended)
	}
	front := &http.Server{Addr: c.Address, Handler: &front{config: c, broker: b}, ReadHeaderTimeout: 30 * time.Second}
	served := make(chan error, 1)
	go func() { served <- front.ListenAndServe() }()
	select {
	case err := <-ended:
		front.Close()
		return err
	case err := <-served:
		return errors.Join(fmt.Errorf("cannot serve: %w", err), p.finish(context.Background(), ended))
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	_ = front.Shutdown(stop) // what is not answered by then fails with the runtime
	return p.finish(stop, ended)
}
