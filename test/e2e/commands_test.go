package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// output is what a command printed: stdout and stderr patterns of the script look at it.
type output struct{ stdout, stderr string }

// command is one that scripts may use. An error is what "!" in front of it asks for; a mistake in the script is fatal.
type command func(w *world, ts *testscript.TestScript, args []string) (output, error)

// table has the commands that can fail or not, and that eventually can repeat.
//
//	serve [FLAGS]         start gitd serve on $DATA, with the addresses that it had before; sets $SSH_PORT, $HTTP and $REMOTE
//	sockets               from now on hand sockets over to the server, as systemd does
//	stopserve             end it by SIGTERM, and check that it ended well
//	killserve             end it by SIGKILL
//	crashserve ABRT|SEGV  end it by a signal that programs crash by; no core is made of it
//	gitd ARGS [< FILE]    a local command on $DATA
//	user NAME [FLAGS]     make a key, register it and use it from now on
//	key NAME              make a key
//	as NAME               use a key from now on
//	git ARGS, ssh ARGS [< FILE]   the real ones, with the key in use; ssh goes to the server
//	app DIR [EXAMPLE]     make a repository of DIR, or of a copy of an example, with the remote platform for an app of that name
//	commit DIR [MESSAGE]  commit whatever has changed
//	http [-host NAME] [-n N -c C] PATH   GET: its status and body, or for N requests how many answered what
//	load start|stop [-most PERCENT] APP   constant traffic; stop fails when a request failed, or more than so many percent did
//	procs PATTERN         there are processes of this data directory whose arguments match
//	pushes -n N DIR FILE  N pushes in a row, each with another text in FILE that must be what is answered next
//	clock SPEED AHEAD     servers started from now on have a clock that goes SPEED times as fast, and AHEAD (a duration) of the machine's
//	restarts -n N APP     kill the server at N random moments; each due time of the app's schedules was started once, or is noted as missed
//	eventkills -n N APP   kill the server N times under 200 events a second; each that was accepted reached the app, or is a dead letter
//	kills -n N DIR FILE   N pushes, each with the server killed at a random moment of it; then all agrees, and nothing is left
//	start NAME COMMAND    run a command in the background; ssh goes to the server, and its input is what is typed
//	type NAME KEYS        its input: 'fg\r', '\x1a' as Go writes them
//	await NAME PATTERN    wait until it printed this
//	interrupt NAME [SIG]  signal its process group: INT (default) or KILL
//	finish NAME           wait for its end
//	kubectl ARGS [< FILE] on the cluster, in the script's namespace
//	cluster stop|start P  a part of the cluster; cluster https: https asks its ingress from now on
//	leaks FILE [NAME]     the secrets in FILE are nowhere: in no file of the data directory but NAME, no log, trace, process; and no process is dumped
//	figures APP           where the time of its releases went, and of a request to no instance
//	https [-h1] -host NAME -ca FILE PATH   GET over TLS: its status, body, issuer
//	pebble prepare|start|stop|revoke   an authority that speaks ACME, at $ACME
//	pem FILE [-days N] NAME…   a certificate for names in FILE, its key in FILE.key
//	dns set NAME RECORD…  a resolver at $DNS knows it: dns set a.example "A 192.0.2.1"; dns delegate NAME SERVER, dns break, dns repair
//	registry              a registry that is not gitd's at $IMAGES, with images in it
//	newrun DIR [DISTRO]   a builder in DIR that builds on another run image: as the present one with a file more, of another distribution
//	collector [hang]      a collector of traces at $OTLP; with hang it answers nothing from now on
//	spans [TRACE]         the spans that it has of a trace, or of all, as a tree
//	post -host APP [-type TYPE] PATH BODY   a request with a body
//	event -host APP [-mode MODE] ID DATA    a CloudEvent, by the client of its SDK
//	functions [-only NAMES] push a function of each contract and language, and call each by HTTP and by events of both content modes
//	metrics PATTERN       the lines of the server's metrics that match
//	prometheus [native]   a Prometheus that scrapes the server, with the rules of config/monitoring; one that asks for native histograms
//	promql QUERY          what it answers
//	monitored             it has all that config/monitoring looks at
//	example DIR EXAMPLE   make an example what a repository has
//	status N COMMAND ARGS one of these commands, which must end with this exit status
//	golden NAME [stdout]  what the last command told is the transcript testdata/NAME.golden
//	pause DURATION        for what cannot be waited for: that nothing happens
func table() map[string]command {
	return map[string]command{
		"sockets": cmdSockets, "serve": cmdServe, "stopserve": cmdStopServe, "killserve": cmdKillServe, "stall": cmdStall, "crashserve": cmdCrashServe,
		"gitd": cmdGitd, "user": cmdUser, "key": cmdKey, "as": cmdAs, "git": cmdGit, "ssh": cmdSSH, "app": cmdApp, "commit": cmdCommit, "example": cmdExample,
		"http": cmdHTTP, "load": cmdLoad, "procs": cmdProcs, "pushes": cmdPushes, "kills": cmdKills, "clock": cmdClock, "leaks": cmdLeaks, "restarts": cmdRestarts,
		"start": cmdStart, "type": cmdType, "await": cmdAwait, "interrupt": cmdInterrupt, "finish": cmdFinish, "pause": cmdPause, "run": cmdRun,
		"eventkills": cmdEventKills, "registry": cmdRegistry, "newrun": cmdNewRun, "kubectl": cmdKubectl, "cluster": cmdCluster, "figures": cmdFigures,
		"dns": cmdDNS, "https": cmdHTTPS, "pem": cmdPEM, "pebble": cmdPebble,
		"post": cmdPost, "event": cmdEvent, "functions": cmdFunctions,
		"collector": cmdCollector, "spans": cmdSpans, "metrics": cmdMetrics, "prometheus": cmdPrometheus, "promql": cmdPromQL, "monitored": cmdMonitored,
	}
}

// commands are all that testscript gets.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){"eventually": cmdEventually, "status": cmdStatus, "golden": cmdGolden}
	for name, c := range table() {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			o, err := c(worldOf(ts), ts, args)
			fmt.Fprint(ts.Stdout(), o.stdout)
			fmt.Fprint(ts.Stderr(), o.stderr)
			switch {
			case err != nil && !neg:
				ts.Fatalf("%s: %v", name, err)
			case err == nil && neg:
				ts.Fatalf("%s: unexpected success", name)
			case err != nil:
				ts.Logf("[%v]", err)
			}
		}
	}
	return all
}

// cmdEventually repeats a command until it does what is asked:
//
//	eventually [-within 30s] [-out PATTERN] [!] COMMAND ARGS
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	limit, want := 60*time.Second, (*regexp.Regexp)(nil)
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		var err error
		switch args[0] {
		case "-within":
			limit, err = time.ParseDuration(args[1])
		case "-out":
			want, err = regexp.Compile("(?m)" + args[1])
		default:
			err = fmt.Errorf("unknown flag %s", args[0])
		}
		ts.Check(err)
		args = args[2:]
	}
	fails := len(args) > 0 && args[0] == "!"
	if fails {
		args = args[1:]
	}
	if neg || len(args) == 0 || table()[args[0]] == nil {
		ts.Fatalf("usage: eventually [-within DURATION] [-out PATTERN] [!] COMMAND ARGS")
	}
	c := table()[args[0]]
	deadline := time.Now().Add(limit)
	for {
		o, err := c(worldOf(ts), ts, args[1:])
		if (err != nil) == fails && (want == nil || want.MatchString(o.stdout) || want.MatchString(o.stderr)) {
			fmt.Fprint(ts.Stdout(), o.stdout)
			fmt.Fprint(ts.Stderr(), o.stderr)
			return
		}
		if time.Now().After(deadline) {
			fmt.Fprint(ts.Stdout(), o.stdout)
			fmt.Fprint(ts.Stderr(), o.stderr)
			ts.Fatalf("%s: not within %s; the last time: %v", strings.Join(args, " "), limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cmdStatus runs a command that must end with an exit status: status N COMMAND ARGS.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || table()[args[1]] == nil {
		ts.Fatalf("usage: status N COMMAND ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	o, err := table()[args[1]](worldOf(ts), ts, args[2:])
	fmt.Fprint(ts.Stdout(), o.stdout)
	fmt.Fprint(ts.Stderr(), o.stderr)
	got := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// environment is what the script's commands see.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, k := range inherited {
		if v := ts.Getenv(k); v != "" {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// lookPath finds a program in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		if list, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(list) {
				p := filepath.Join(dir, name)
				if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
					return p, nil
				}
			}
		}
	}
	return "", fmt.Errorf("%s: not found", name)
}

// run runs a program to its end in the script's directory and environment.
func run(ts *testscript.TestScript, stdin []byte, name string, args ...string) (output, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	var in io.Reader // a nil one is no input
	if stdin != nil {
		in = bytes.NewReader(stdin)
	}
	j, err := startJob(ts.MkAbs("."), environment(ts), in, name, args...)
	if err != nil {
		return output{}, err
	}
	err = j.wait(ctx)
	o := output{j.out.String(), j.errs.String()}
	if strings.Contains(o.stderr, "WARNING: DATA RACE") {
		ts.Fatalf("%s: a data race:\n%s", name, o.stderr)
	}
	return o, err
}

// cmdRun is testscript's exec with this package's limits, for eventually and for a shell's one-liners: run sh -c '…'.
func cmdRun(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) == 0 {
		ts.Fatalf("usage: run COMMAND ARGS")
	}
	return run(ts, nil, args[0], args[1:]...)
}

func cmdPause(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 {
		ts.Fatalf("usage: pause DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
	return output{}, nil
}

func cmdProcs(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 {
		ts.Fatalf("usage: procs PATTERN")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	var found []process
	for _, p := range belongingTo(w.data) {
		if re.MatchString(p.args) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return output{}, fmt.Errorf("no process of %s has arguments that match %s", w.data, re)
	}
	return output{stdout: describe(found)}, nil
}

func cmdStart(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND ARGS")
	}
	if w.jobs[args[0]] != nil {
		ts.Fatalf("start: %s runs already", args[0])
	}
	dir := ts.MkAbs(".")
	more := args[2:]
	var stdin io.Reader
	var typed *os.File
	if args[1] == "ssh" {
		more = sshArgs(ts, more)
		in, out, err := os.Pipe()
		ts.Check(err)
		defer in.Close()
		stdin, typed = in, out
	}
	j, err := startJob(dir, environment(ts), stdin, args[1], more...)
	if err != nil {
		ts.Fatalf("start: %v", err)
	}
	j.typed = typed
	w.jobs[args[0]] = j
	return output{}, nil
}

func cmdType(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 2 {
		ts.Fatalf("usage: type NAME KEYS")
	}
	keys, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
	ts.Check(err)
	j := jobOf(w, ts, args[0])
	if j.typed == nil {
		ts.Fatalf("type: nothing can be typed into %s", args[0])
	}
	_, err = j.typed.WriteString(keys)
	return output{}, err
}

func jobOf(w *world, ts *testscript.TestScript, name string) *job {
	j := w.jobs[name]
	if j == nil {
		ts.Fatalf("no job %s was started", name)
	}
	return j
}

func cmdAwait(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 2 {
		ts.Fatalf("usage: await NAME PATTERN")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	j := jobOf(w, ts, args[0])
	err = j.await(ctx, re)
	return output{j.out.String(), j.errs.String()}, err
}

func cmdInterrupt(w *world, ts *testscript.TestScript, args []string) (output, error) {
	sig := syscall.SIGINT
	switch {
	case len(args) == 2 && args[1] == "KILL":
		sig = syscall.SIGKILL
	case len(args) != 1 && (len(args) != 2 || args[1] != "INT"):
		ts.Fatalf("usage: interrupt NAME [INT|KILL]")
	}
	return output{}, jobOf(w, ts, args[0]).signal(sig)
}

func cmdFinish(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 {
		ts.Fatalf("usage: finish NAME")
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	j := jobOf(w, ts, args[0])
	err := j.wait(ctx)
	delete(w.jobs, args[0])
	return output{j.out.String(), j.errs.String()}, err
}
