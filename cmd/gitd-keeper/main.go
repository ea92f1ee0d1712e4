// Command gitd-keeper is what gitd runs beside Knative Eventing: see internal/event/keeper. Its settings are in the environment: KEEPER_DIR,
// where dead letters are, KEEPER_TOKEN, by which it knows gitd, and PORT. With KEEPER_VOID it takes everything, and keeps nothing. With KEEPER_DOOR, the URL of
// a keeper, it takes requests from outside to that one's door.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/event/keeper"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "gitd-keeper:", err)
		os.Exit(1)
	}
}

func serve() error {
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	to := os.Getenv("KEEPER_DOOR")
	switch {
	case to != "":
		u, err := url.Parse(to)
		if err != nil {
			return err
		}
		handler = keeper.Relay(u)
	case os.Getenv("KEEPER_VOID") == "":
		k, err := keeper.New(os.Getenv("KEEPER_DIR"), os.Getenv("KEEPER_TOKEN"))
		if err != nil {
			return err
		}
		defer k.Close()
		handler = k
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s := &http.Server{Addr: ":" + cmp.Or(os.Getenv("PORT"), "8080"), Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(last)
		close(done)
	}()
	if err := s.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	<-done // ListenAndServe returns when Shutdown begins: the requests that are under way end first
	return nil
}
