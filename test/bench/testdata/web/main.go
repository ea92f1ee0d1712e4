// Command web is the small program behind the proxies in the benchmark. Every answer names the build and the process
// that gave it, so that a cut-over and a restarted instance can be seen from outside.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const build = "build-0"

func main() {
	started := fmt.Sprint(time.Now().UnixNano())
	namespace, _ := os.Readlink("/proc/self/ns/net")
	body := []byte("hello, world\n")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write(body)
	})
	http.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, build, started, namespace, os.Getenv("PORT"))
	})
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(300 * time.Millisecond)
		fmt.Fprintln(w, build, started, namespace, os.Getenv("PORT"))
	})
	listener, err := net.Listen("tcp", "0.0.0.0:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	server := &http.Server{}
	go func() {
		<-stop
		server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
