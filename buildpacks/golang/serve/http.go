// Package serve serves one function over HTTP. The Go buildpack builds it into apps, from the text of these files: it imports the standard library, and
// for functions of CloudEvents the SDK, which such a function has anyway.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// The times that the end of an instance takes at most.
const (
	drainTime = 30 * time.Second
	stopTime  = 10 * time.Second
)

// HTTP serves a function that answers requests. instance may have Start, Stop, Ready and Alive, as functions of Knative do; it may be nil. HTTP returns
// when the process was told to end, and ends the process with status 1 where it cannot serve.
func HTTP(f func(http.ResponseWriter, *http.Request), instance any) {
	run(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer recovered(w)
		f(w, r)
	}), instance)
}

// recovered answers a call that has panicked. http.ErrAbortHandler is how a function ends an answer on purpose.
func recovered(w http.ResponseWriter) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	logf("the function panicked: %v\n%s", p, debug.Stack())
	failed(w, http.StatusInternalServerError, "the function panicked")
}

// failed answers with an error, as JSON.
func failed(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client has gone
}

func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// run serves until the process is told to end.
func run(h http.Handler, instance any) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		logf("cannot listen: %v", err)
		os.Exit(1)
	}
	if err := serve(ctx, l, h, instance); err != nil {
		logf("%v", err)
		os.Exit(1)
	}
}

// serve serves on l until ctx ends, the listener fails, or the instance's Start says an error.
func serve(ctx context.Context, l net.Listener, h http.Handler, instance any) error {
	failed := make(chan error, 2)
	if i, ok := instance.(interface {
		Start(context.Context, map[string]string) error
	}); ok {
		go func() {
			if err := i.Start(ctx, environment()); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("the function's Start: %w", err)
			}
		}()
	}
	server := &http.Server{Handler: routes(h, instance), ReadHeaderTimeout: 30 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("cannot serve: %w", err)
		}
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	_ = server.Shutdown(drain) // what is not answered by then is cut
	if i, ok := instance.(interface{ Stop(context.Context) error }); ok {
		stop, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		if e := i.Stop(stop); e != nil {
			err = errors.Join(err, fmt.Errorf("the function's Stop: %w", e))
		}
	}
	return err
}

// routes are the function, and the paths by which it says how it is.
func routes(h http.Handler, instance any) http.Handler {
	ready, alive := (func(context.Context) (bool, error))(nil), (func(context.Context) (bool, error))(nil)
	if i, ok := instance.(interface {
		Ready(context.Context) (bool, error)
	}); ok {
		ready = i.Ready
	}
	if i, ok := instance.(interface {
		Alive(context.Context) (bool, error)
	}); ok {
		alive = i.Alive
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health/readiness":
			health(w, r, "READY", "not ready", ready)
		case "/health/liveness":
			health(w, r, "ALIVE", "not alive", alive)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// health answers what the function says of itself; nil says that all is well.
func health(w http.ResponseWriter, r *http.Request, yes, no string, ask func(context.Context) (bool, error)) {
	defer recovered(w)
	if ask != nil {
		ok, err := ask(r.Context())
		if err != nil {
			logf("%s: %v", no, err)
			failed(w, http.StatusInternalServerError, no+": "+err.Error())
			return
		}
		if !ok {
			failed(w, http.StatusServiceUnavailable, no)
			return
		}
	}
	fmt.Fprint(w, yes)
}

// environment is what Start gets.
func environment() map[string]string {
	all := map[string]string{}
	for _, kv := range os.Environ() {
		if name, value, ok := strings.Cut(kv, "="); ok {
			all[name] = value
		}
	}
	return all
}
