package e2e

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHTTP asks the server for a path of an app. Any status is a success; that no answer comes is not.
func cmdHTTP(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("http", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	host := fs.String("host", "", "name of the app")
	n := fs.Int("n", 1, "requests")
	c := fs.Int("c", 1, "at once")
	ts.Check(fs.Parse(args))
	if fs.NArg() != 1 || w.http == "" {
		ts.Fatalf("usage, with a server running: http [-host APP] [-n N -c C] PATH")
	}
	name := *host
	if !strings.Contains(name, ".") && name != "" {
		name += "." + w.domain
	}
	if name == "" {
		name = w.domain
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	client := newClient(w.http, true)
	defer client.CloseIdleConnections()
	if *n == 1 {
		a, err := get(ctx, client, name, fs.Arg(0))
		if err != nil {
			return output{stderr: err.Error() + "\n"}, err
		}
		return output{stdout: fmt.Sprintf("HTTP %d\n%s\n", a.status, a.body)}, nil
	}
	return many(ctx, w.http, name, fs.Arg(0), *n, *c)
}

// many sends n requests, c of them at a time, each over a connection of its own, and counts the answers.
func many(ctx context.Context, addr, host, path string, n, c int) (output, error) {
	client := newClient(addr, false)
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var mu sync.Mutex
	counts := map[string]int{}
	var wait sync.WaitGroup
	for range c {
		wait.Go(func() {
			for range work {
				a, err := get(ctx, client, host, path)
				what := strconv.Itoa(a.status)
				if err != nil {
					what = "error: " + err.Error()
				} else if a.status != 200 {
					what += fmt.Sprintf(": %.200s", strings.TrimSpace(a.body))
				}
				mu.Lock()
				counts[what]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	var lines []string
	for what, k := range counts {
		lines = append(lines, fmt.Sprintf("%d × %s", k, what))
	}
	sort.Strings(lines)
	return output{stdout: strings.Join(lines, "\n") + "\n"}, nil
}

func cmdLoad(w *world, ts *testscript.TestScript, args []string) (output, error) {
	most := 0.0 // percent
	if len(args) == 4 && args[0] == "stop" && args[1] == "-most" {
		v, err := strconv.ParseFloat(args[2], 64)
		ts.Check(err)
		most, args = v, []string{args[0], args[3]}
	}
	if len(args) != 2 || w.http == "" {
		ts.Fatalf("usage, with a server running: load start APP, load stop [-most PERCENT] APP")
	}
	app := args[1]
	switch l := w.loads[app]; args[0] {
	case "start":
		if l != nil {
			ts.Fatalf("load: %s has some already", app)
		}
		w.loads[app] = startLoad(w.http, app+"."+w.domain, "/")
		return output{}, nil
	case "stop":
		if l == nil {
			ts.Fatalf("load: %s has none", app)
		}
		delete(w.loads, app)
		report := l.stop()
		switch {
		case l.requests == 0:
			return output{stdout: report}, fmt.Errorf("no request was sent")
		case 100*float64(len(l.failures)) > most*float64(l.requests):
			return output{stdout: report}, fmt.Errorf("%d of %d requests failed", len(l.failures), l.requests)
		}
		return output{stdout: report}, nil
	}
	ts.Fatalf("load: start or stop, not %s", args[0])
	return output{}, nil
}

// cmdPushes pushes one change after the other. $GITD_E2E_PUSHES stands above -n.
func cmdPushes(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("pushes", flag.ContinueOnError)
	n := fs.Int("n", 50, "how many")
	ts.Check(fs.Parse(args))
	if fs.NArg() != 2 {
		ts.Fatalf("usage: pushes -n N DIR FILE")
	}
	if v := os.Getenv("GITD_E2E_PUSHES"); v != "" {
		k, err := strconv.Atoi(v)
		ts.Check(err)
		*n = k
	}
	dir, file := ts.MkAbs(fs.Arg(0)), fs.Arg(1)
	client := newClient(w.http, true)
	defer client.CloseIdleConnections()
	for i := 1; i <= *n; i++ {
		text := fmt.Sprintf("change %d of %d", i, *n)
		ts.Check(os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o666))
		if o, err := cmdCommit(w, ts, []string{dir, text}); err != nil {
			return o, err
		}
		o, err := run(ts, nil, "git", "-C", dir, "push", "platform", "main")
		if err != nil {
			return o, fmt.Errorf("push %d: %w", i, err)
		}
		a, err := get(context.Background(), client, filepath.Base(dir)+"."+w.domain, "/")
		if err != nil || a.status != 200 || strings.TrimSpace(a.body) != text {
			return o, fmt.Errorf("after push %d: status %d, %q, %v; want %q", i, a.status, a.body, err, text)
		}
	}
	return output{stdout: fmt.Sprintf("%d pushes\n", *n)}, nil
}
