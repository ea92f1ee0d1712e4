package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func cmdServe(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.server != nil {
		ts.Fatalf("serve: it runs already")
	}
	ssh, http := "127.0.0.1:0", "127.0.0.1:0"
	if w.ssh != "" {
		ssh, http = w.ssh, w.http
	}
	flags := []string{"--ssh", ssh}
	if theCluster != nil {
		own, err := theCluster.serveFlags(w)
		ts.Check(err)
		flags = append(flags, own...)
	} else {
		flags = append(flags, "--http", http, "--domain", "localhost")
	}
	this := filepath.Join(w.base, "run.log")
	_ = os.Remove(this)
	s, a, err := startServer(w.sockets, append(w.clock.setting(), traceback), w.data, this, append(flags, args...)...)
	out, _ := os.ReadFile(this)
	if err != nil {
		w.keepLog(out)
		if !errors.Is(err, errExited) {
			ts.Fatalf("%v", err) // it hangs: never what a script asks for
		}
		return output{stderr: string(out)}, err
	}
	w.server, w.ssh = s, a.SSH
	if theCluster == nil {
		w.http, w.https = a.HTTP, a.HTTPS
	}
	_, port, err := net.SplitHostPort(a.SSH)
	ts.Check(err)
	ts.Setenv("SSH_PORT", port)
	ts.Setenv("HTTP", w.http)
	w.metrics = a.Metrics
	ts.Setenv("OWN_DNS", a.DNS)
	ts.Setenv("HTTPS", w.https)
	ts.Setenv("REMOTE", "ssh://git@"+a.SSH)
	return output{stderr: string(out)}, nil
}

func cmdStopServe(w *world, ts *testscript.TestScript, _ []string) (output, error) {
	return w.endServer(ts, (*server).stop)
}

func cmdKillServe(w *world, ts *testscript.TestScript, _ []string) (output, error) {
	return w.endServer(ts, (*server).kill)
}

// stallVariable says for how long the command stall stops the server, whatever the script says.
const stallVariable = "GITD_E2E_STALL"

// cmdStall stops the server for a time, by SIGSTOP, and has it go on.
func cmdStall(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.server == nil || len(args) != 1 {
		ts.Fatalf("usage, with a server running: stall DURATION")
	}
	length := args[0]
	if v := os.Getenv(stallVariable); v != "" {
		length = v
	}
	d, err := time.ParseDuration(length)
	ts.Check(err)
	ts.Check(w.server.cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(d)
	return output{}, w.server.cmd.Process.Signal(syscall.SIGCONT)
}

func (w *world) endServer(ts *testscript.TestScript, end func(*server) error) (output, error) {
	if w.server == nil {
		ts.Fatalf("no server runs")
	}
	s := w.server
	w.server = nil
	err := end(s)
	out, _ := os.ReadFile(s.output)
	w.keepLog(out)
	return output{stderr: string(out)}, err
}

// keepLog adds a run's output to the log of all runs, which is looked through at the end.
func (w *world) keepLog(out []byte) {
	f, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.tb.Errorf("keeping the server's log: %v", err)
		return
	}
	defer func() { _ = f.Close() }()
	if _, err := fmt.Fprintf(f, "%s\n", out); err != nil {
		w.tb.Errorf("keeping the server's log: %v", err)
	}
}

// cmdSockets makes the sockets that are handed over to every server from now on, as systemd holds them for its units.
func cmdSockets(w *world, ts *testscript.TestScript, _ []string) (output, error) {
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		f, err := l.(*net.TCPListener).File()
		ts.Check(err)
		ts.Check(l.Close())
		ts.Defer(func() { _ = f.Close() })
		w.sockets = append(w.sockets, f)
	}
	return output{}, nil
}
