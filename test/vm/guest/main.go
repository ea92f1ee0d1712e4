// Command guest is what the tests run on a machine beside gitd.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	a := os.Args[1:]
	switch {
	case len(a) == 5 && a[0] == "load": // URL HOST RATE DURATION
		rate, err := strconv.Atoi(a[3])
		check(err)
		length, err := time.ParseDuration(a[4])
		check(err)
		load(a[1], a[2], rate, length)
	case len(a) == 2 && a[0] == "get": // URL
		r, err := http.Get(a[1])
		check(err)
		_, err = io.Copy(os.Stdout, r.Body)
		check(err)
	case len(a) == 2 && a[0] == "serve": // ADDRESS
		check(http.ListenAndServe(a[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "open") })))
	default:
		fmt.Fprintln(os.Stderr, "guest load URL HOST RATE DURATION | get URL | serve ADDRESS")
		os.Exit(2)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// answer is what came of one request.
type answer struct {
	at, took time.Duration
	what     string
}

// load asks at a steady rate, each time on a new connection, whether or not earlier requests are answered. It says how many failed, and when.
func load(url, host string, rate int, length time.Duration) {
	client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	var mu sync.Mutex
	var answers []answer
	var clients sync.WaitGroup
	began := time.Now()
	for tick := time.NewTicker(time.Second / time.Duration(rate)); time.Since(began) < length; <-tick.C {
		clients.Go(func() {
			at := time.Since(began)
			what := ask(client, url, host)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer{at, time.Since(began) - at, what})
		})
	}
	clients.Wait()
	tell(answers)
}

func tell(answers []answer) {
	sort.Slice(answers, func(i, j int) bool { return answers[i].at < answers[j].at })
	count := map[string]int{}
	var slowest time.Duration
	var bad []answer
	for _, a := range answers {
		count[a.what]++
		slowest = max(slowest, a.took)
		if !strings.HasPrefix(a.what, "200 ") {
			bad = append(bad, a)
		}
	}
	fmt.Printf("%d requests, %d failed, the slowest took %.2f s\n", len(answers), len(bad), slowest.Seconds())
	if len(bad) > 0 {
		fmt.Printf("failures from %.2f s to %.2f s\n", bad[0].at.Seconds(), bad[len(bad)-1].at.Seconds())
	}
	for what, n := range count {
		fmt.Printf("%6d  %s\n", n, what)
	}
}

func ask(c *http.Client, url, host string) string {
	q, err := http.NewRequest(http.MethodGet, url, nil)
	check(err)
	q.Host = host
	r, err := c.Do(q)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 200))
	if err != nil {
		return "body: " + err.Error()
	}
	return fmt.Sprintf("%d %s", r.StatusCode, strings.TrimSpace(string(b)))
}
