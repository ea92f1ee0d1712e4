// Command probe is an app that goes to its limits when it is asked to.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "probe v1") })
	http.HandleFunc("/eat", eat)
	http.HandleFunc("/fork", fork)
	http.HandleFunc("/burn", burn)
	http.HandleFunc("/get", get)
	http.HandleFunc("/dial", dial)
	http.HandleFunc("/hold", func(w http.ResponseWriter, q *http.Request) {
		time.Sleep(time.Duration(number(q, "s")) * time.Second)
		fmt.Fprintln(w, "held")
	})
	if err := http.ListenAndServe(":"+os.Getenv("PORT"), nil); err != nil {
		panic(err)
	}
}

func number(q *http.Request, key string) int {
	n, _ := strconv.Atoi(q.URL.Query().Get(key))
	return n
}

var kept [][]byte

// eat takes mb MiB of memory and keeps them.
func eat(w http.ResponseWriter, q *http.Request) {
	for range number(q, "mb") {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	fmt.Fprintln(w, "ate", len(kept))
}

// fork starts n processes, or as many as it may, and ends them.
func fork(w http.ResponseWriter, q *http.Request) {
	var children []*exec.Cmd
	var err error
	for range number(q, "n") {
		c := exec.Command("/bin/sleep", "600")
		if err = c.Start(); err != nil {
			break
		}
		children = append(children, c)
	}
	fmt.Fprintln(w, "forked", len(children), err)
	for _, c := range children {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

// burn keeps all processors busy for s seconds.
func burn(w http.ResponseWriter, q *http.Request) {
	end := time.Now().Add(time.Duration(number(q, "s")) * time.Second)
	var busy sync.WaitGroup
	for range runtime.NumCPU() {
		busy.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	busy.Wait()
	fmt.Fprintln(w, "burnt")
}

// get fetches a URL on a new connection: one that is open passes many a firewall.
func get(w http.ResponseWriter, q *http.Request) {
	c := &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(q.URL.Query().Get("url"))
	if err != nil {
		fmt.Fprintln(w, "failed:", err)
		return
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(r.Body, 100))
	fmt.Fprintf(w, "%d %s\n", r.StatusCode, b)
}

// dial says whether a TCP connection can be made.
func dial(w http.ResponseWriter, q *http.Request) {
	c, err := net.DialTimeout("tcp", q.URL.Query().Get("to"), 4*time.Second)
	if err != nil {
		fmt.Fprintln(w, "failed:", err)
		return
	}
	_ = c.Close()
	fmt.Fprintln(w, "connected")
}
