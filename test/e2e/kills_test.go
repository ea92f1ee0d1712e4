package e2e

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// killsVariable says how many rounds the command kills makes, whatever the script says.
const killsVariable = "GITD_E2E_KILLS"

// oftener sets how many rounds a command makes to what a variable of the environment says, if it says so.
func oftener(ts *testscript.TestScript, n *int, variable string) {
	v := os.Getenv(variable)
	if v == "" {
		return
	}
	k, err := strconv.Atoi(v)
	ts.Check(err)
	*n = k
}

// cmdKills kills the server at a random moment of each of N pushes, from its first byte until a while after it went live, and starts it again:
//
//	kills -n N DIR FILE
//
// After each start the ref, the ledger, and what the app answers are one and the same release, nothing is unfinished, and the folders hold nothing half done.
func cmdKills(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fl := flag.NewFlagSet("kills", flag.ContinueOnError)
	n := fl.Int("n", 10, "rounds")
	ts.Check(fl.Parse(args))
	if fl.NArg() != 2 {
		ts.Fatalf("usage: kills -n N DIR FILE")
	}
	oftener(ts, n, killsVariable)
	k := &kills{w: w, ts: ts, dir: ts.MkAbs(fl.Arg(0)), file: fl.Arg(1), texts: map[string]string{}, ends: map[string]int{}}
	took, err := k.push("before") // how long a push takes here
	if err != nil {
		return output{}, err
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := 1; i <= *n; i++ {
		at, from := time.Duration(random.Float64()*1.2*float64(took)), ""
		if i%2 == 0 { // most of a push is its build: every second one is killed while it goes live
			at, from = time.Duration(random.Float64()*float64(time.Second)), "starting revision"
		}
		if err := k.round(i, from, at); err != nil {
			return output{}, fmt.Errorf("round %d, killed %s after %q: %w", i, at.Round(time.Millisecond), from, err)
		}
	}
	return output{stdout: fmt.Sprintf("%d kills; the releases ended: %v\n", *n, k.ends)}, nil
}

type kills struct {
	w         *world
	ts        *testscript.TestScript
	dir, file string
	texts     map[string]string // commit → what the app then answers
	ends      map[string]int    // state in the ledger → releases that were killed
}

// change commits a text and returns the commit.
func (k *kills) change(text string) (string, error) {
	if err := os.WriteFile(filepath.Join(k.dir, k.file), []byte(text+"\n"), 0o666); err != nil {
		return "", err
	}
	if _, err := cmdCommit(k.w, k.ts, []string{k.dir, text}); err != nil {
		return "", err
	}
	o, err := run(k.ts, nil, "git", "-C", k.dir, "rev-parse", "HEAD")
	commit := strings.TrimSpace(o.stdout)
	k.texts[commit] = text
	return commit, err
}

// push takes a text live.
func (k *kills) push(text string) (time.Duration, error) {
	if _, err := k.change(text); err != nil {
		return 0, err
	}
	began := time.Now()
	if o, err := run(k.ts, nil, "git", "-C", k.dir, "push", "-f", "platform", "main"); err != nil {
		return 0, fmt.Errorf("a push without a kill: %w\n%s", err, o.stderr)
	}
	took := time.Since(began)
	return took, k.check()
}

// round pushes, and kills the server so long after the push has said something.
func (k *kills) round(i int, from string, at time.Duration) error {
	commit, err := k.change(fmt.Sprintf("round %d", i))
	if err != nil {
		return err
	}
	j, err := startJob(k.dir, environment(k.ts), nil, "git", "push", "-f", "platform", "main")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := j.await(ctx, regexp.MustCompile(from)); err != nil {
		return err
	}
	time.Sleep(at)
	if _, err := cmdKillServe(k.w, k.ts, nil); err != nil {
		return err
	}
	_ = j.wait(ctx) // it ends as it happens to
	if o, err := cmdServe(k.w, k.ts, nil); err != nil {
		return fmt.Errorf("the server does not start: %w\n%s", err, o.stderr)
	}
	if err := k.check(); err != nil {
		return err
	}
	o, err := cmdGitd(k.w, k.ts, []string{"releases", filepath.Base(k.dir), "-n", "1"})
	if err != nil {
		return err
	}
	end := "never began"
	if row := newestRow.FindStringSubmatch(o.stdout); row != nil && strings.HasPrefix(commit, row[2]) {
		end = row[1]
	}
	k.ends[end]++
	if i%5 == 0 { // the way on is a push
		_, err = k.push(fmt.Sprintf("after round %d", i))
	}
	return err
}

var (
	newestRow    = regexp.MustCompile(`(?m)^v\d+ +(\w+) +([0-9a-f]{7}) `)
	liveRow      = regexp.MustCompile(`(?m)^v\d+ +live +([0-9a-f]{7}) `)
	unfinishedIs = regexp.MustCompile(`(?m)^v\d+ +(received|building|built|releasing|starting|shifting) .*`)
)

// check compares what there is of the app.
func (k *kills) check() error {
	name := filepath.Base(k.dir)
	o, err := cmdGitd(k.w, k.ts, []string{"releases", name, "-n", "1000"})
	if err != nil {
		return err
	}
	if open := unfinishedIs.FindString(o.stdout); open != "" {
		return fmt.Errorf("unfinished: %s", open)
	}
	live := liveRow.FindAllStringSubmatch(o.stdout, -1)
	if len(live) != 1 {
		return fmt.Errorf("%d releases are live:\n%s", len(live), o.stdout)
	}
	if o, err = run(k.ts, nil, "git", "-C", k.dir, "ls-remote", "platform", "refs/heads/main"); err != nil {
		return err
	}
	commit, _, _ := strings.Cut(o.stdout, "\t")
	if !strings.HasPrefix(commit, live[0][1]) {
		return fmt.Errorf("the ref is %q, the ledger says %s", commit, live[0][1])
	}
	client := newClient(k.w.http, false)
	defer client.CloseIdleConnections()
	a, err := get(context.Background(), client, name+"."+k.w.domain, "/")
	if err != nil || a.status != 200 || strings.TrimSpace(a.body) != k.texts[commit] {
		return fmt.Errorf("the app answers %d %q (%v); live is %q", a.status, a.body, err, k.texts[commit])
	}
	if o, err = run(k.ts, nil, "git", "-C", filepath.Join(k.w.data, "repositories", name+".git"), "-c", "safe.directory=*", "fsck", "--strict", "--no-dangling"); err != nil {
		return fmt.Errorf("git fsck: %w\n%s%s", err, o.stdout, o.stderr)
	}
	return k.halfDone()
}

// halfDone looks for what a killed process was at. The registry's temporary files go with its first collection.
func (k *kills) halfDone() error {
	var left []string
	for _, pattern := range []string{"*.new", ".new-*", "platform/services/*/.new-*", "platform/services/*/*/.new-*", "platform/services/.removed-*",
		"repositories/.*", "repositories/*/*.lock", "repositories/*/refs/*/*.lock", "repositories/*/objects/tmp_*", "repositories/*/objects/pack/tmp_*",
		"builds/apps/*/build-*"} {
		found, err := filepath.Glob(filepath.Join(k.w.data, pattern))
		if err != nil {
			return err
		}
		left = append(left, found...)
	}
	uploads := func() (found []string) {
		_ = filepath.WalkDir(filepath.Join(k.w.data, "registry"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Base(filepath.Dir(path)) == "_uploads" {
				found = append(found, path)
			}
			return nil
		})
		return found
	}
	for until := time.Now().Add(time.Minute); len(uploads()) > 0 && time.Now().Before(until); { // they go beside the start
		time.Sleep(50 * time.Millisecond)
	}
	if left = append(left, uploads()...); len(left) > 0 {
		slices.Sort(left)
		return fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	return nil
}
