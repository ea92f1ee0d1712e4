// Command hello answers with a greeting. Change version, commit and push: that is a deployment.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

const version = "v1"

func main() {
	instance := uuid.NewString()
	r := chi.NewRouter()
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from Go, %s\n", version)
	})
	r.Get("/instance", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, instance)
	})
	// /slow?ms=500 answers late: to see what happens to requests under way when a new version goes live.
	r.Get("/slow", func(w http.ResponseWriter, req *http.Request) {
		ms, err := strconv.Atoi(req.URL.Query().Get("ms"))
		if err != nil || ms < 0 || ms > 60_000 {
			http.Error(w, "ms must be a number from 0 to 60000", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			fmt.Fprintf(w, "hello from Go, %s, after %d ms\n", version, ms)
		case <-req.Context().Done():
		}
	})

	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: ":" + port, Handler: r, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline)
	}()
	log.Printf("hello %s listens on port %s", version, port)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	// Shutdown makes ListenAndServe return at once; what is under way has 30 seconds.
	_ = server.Shutdown(context.Background())
}
