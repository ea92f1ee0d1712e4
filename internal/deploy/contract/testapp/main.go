// Testapp is the app that the contract suite deploys. The environment says how it behaves.
package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// job is the process type job: it says so, and goes on for ever or ends with a status.
func job() {
	fmt.Printf("job of %s, %s\n", os.Getenv("VERSION"), os.Getenv("COLOUR"))
	if os.Getenv("MODE") == "hog" {
		hog()
	}
	if status, err := strconv.Atoi(os.Getenv("STATUS")); err == nil {
		os.Exit(status)
	}
	time.Sleep(time.Hour)
}

// hog takes memory until it is killed.
func hog() {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
		if len(all)%100 == 0 {
			fmt.Println(len(all), "MiB")
		}
	}
}

func main() {
	switch filepath.Base(os.Args[0]) {
	case "job":
		job()
	case "launcher":
		execute(os.Args[2:])
	case "sh":
		sh()
	}
	if len(os.Args) > 1 {
		os.Exit(act(os.Args[1], os.Args[2:]))
	}
	id := rand.Text()[:8]
	fmt.Printf("%s starts as %s\n", os.Getenv("VERSION"), id)
	if until, err := strconv.ParseInt(os.Getenv("UNTIL"), 10, 64); err == nil { // from then on it does not run
		end := func() { fmt.Println("the time is over"); os.Exit(7) }
		left := time.Until(time.Unix(until, 0))
		if left <= 0 {
			end()
		}
		time.AfterFunc(left, end)
	}
	port := os.Getenv("PORT")
	switch os.Getenv("MODE") {
	case "exit":
		fmt.Println("cannot find the database")
		os.Exit(3)
	case "elsewhere":
		port = "9999"
	case "never":
		time.Sleep(time.Hour)
	case "hog":
		hog()
	}
	if ms, _ := strconv.Atoi(os.Getenv("DELAY")); ms > 0 {
		time.Sleep(time.Duration(ms) * time.Millisecond)
	}
	routes(id)
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	server := &http.Server{Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(os.Getenv("PROTOCOL") != "h2c")
	server.Protocols.SetUnencryptedHTTP2(os.Getenv("PROTOCOL") == "h2c") // as gRPC servers: nothing else
	fmt.Println(server.Serve(l))
}

// slept counts requests for /sleep.
var slept atomic.Int64

// routes are the paths by which tests look into the app and make it do things.
func routes(id string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if os.Getenv("MODE") == "broken" {
			fmt.Println("a request that fails")
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		if os.Getenv("MODE") == "dies" { // without an answer
			time.Sleep(300 * time.Millisecond)
			fmt.Println("cannot find the database")
			os.Exit(3)
		}
		fmt.Fprint(w, os.Getenv("VERSION"))
	})
	http.HandleFunc("/protocol", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	http.HandleFunc("/id", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, id) })
	http.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.URL.Query().Get("name"))) })
	http.HandleFunc("/say", func(w http.ResponseWriter, r *http.Request) { fmt.Println(r.URL.Query().Get("line")) })
	http.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.URL.Query().Get("file"))
		if err != nil {
			b = []byte("error: " + err.Error())
		}
		_, _ = w.Write(b)
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("bytes"))
		fmt.Fprint(w, "error: ", os.WriteFile(r.URL.Query().Get("file"), bytes.Repeat([]byte("x"), n), 0o600))
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // before the answer begins: not everything on the way passes both at a time
		fmt.Fprintf(w, "%s %s", r.Header.Get(r.URL.Query().Get("header")), body)
	})
	http.HandleFunc("/asked/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, " ", r.Host, r.RequestURI) })
	http.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) { // a response that begins at once, and takes a while
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			_, _ = io.WriteString(w, ".")
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.WriteString(w, "end")
	})
	http.HandleFunc("/fails", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	http.HandleFunc("/crash", func(w http.ResponseWriter, r *http.Request) { os.Exit(7) })
	http.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		dir, _ := os.Getwd()
		fmt.Fprintf(w, "%d:%d %s", os.Getuid(), os.Getgid(), dir)
	})
	http.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		if every, _ := strconv.ParseInt(os.Getenv("FAILS_EVERY"), 10, 64); every > 0 && slept.Add(1)%every == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		_, _ = io.WriteString(w, os.Getenv("VERSION"))
	})
}
