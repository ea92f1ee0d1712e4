package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gitd-io/gitd/test/stage"
)

// trial is one app on its way to the server.
type trial struct {
	*sample
	stage   *stage.Stage
	mirrors string
	log     *os.File // what every command of it said
	limit   time.Duration
	served  string // what the first page is
}

// result is what became of it.
type result struct {
	Name, Language string
	Verdict        verdict
	Reason         string
	Served         string        // what the first page was at last
	First, Warm    time.Duration // of the pushes
}

type verdict string

const (
	verdictLive    verdict = "live"
	verdictRefused verdict = "refused" // as expected
	verdictFailed  verdict = "failed"
	verdictNeeds   verdict = "needs"   // something beside gitd: not pushed, not counted
	verdictAway    verdict = "away"    // a host that its build needs cannot be reached from here: not counted
	verdictMissing verdict = "missing" // the sample could not be laid out
)

var errMissing = errors.New("the sample cannot be laid out")

// try pushes the app, looks at it, pushes it again with one file changed, and destroys it.
func (t *trial) try(ctx context.Context) (r result) {
	r = result{Name: t.name(), Language: t.Language, Verdict: verdictLive}
	if t.Needs != "" {
		r.Verdict, r.Reason = verdictNeeds, t.Needs
		return r
	}
	dir := filepath.Join(t.stage.Dir, t.app())
	defer os.RemoveAll(dir)
	defer func() {
		if err := t.run(ctx, t.stage.Dir, nil, t.stage.Gitd, "apps", "destroy", t.app(), "--data", t.stage.Data()); err != nil && r.Verdict == verdictLive {
			r.Verdict, r.Reason = verdictFailed, err.Error()
		}
	}()
	if err := t.checkout(ctx, dir); err != nil {
		r.Verdict, r.Reason = verdictMissing, fmt.Sprintf("%v: %v", errMissing, err)
		return r
	}
	err := t.configure(ctx)
	if err == nil {
		r.First, err = t.push(ctx, dir)
	}
	if t.Refused != "" {
		r.Verdict, r.Reason = t.refusal(err)
		return r
	}
	if err == nil && !t.Worker {
		err = t.look(ctx)
	}
	if err == nil {
		err = t.moved(ctx)
	}
	if err == nil {
		r.Warm, err = t.again(ctx, dir)
	}
	if err == nil && !t.Worker {
		err = t.look(ctx)
	}
	r.Served = t.served
	if err != nil {
		r.Verdict, r.Reason = verdictFailed, err.Error()
		if host := t.away(); host != "" {
			r.Verdict, r.Reason = verdictAway, host+": "+r.Reason
		}
	}
	return r
}

// host is a name with a dot in it: other words may stand beside an error.
const host = `([\w-]+(?:\.[\w-]+)+)`

var away = regexp.MustCompile(`(?:it comes from|curl error 6 while downloading https?:|Could not reach host|:to_address, \{(?:~c)?|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|Could not resolve host:|[uU]nknown host|UnknownHostException:?|dial tcp: lookup|failed to lookup address information.*host|Temporary failure resolving|NameResolutionError.*host=)\W*` + host +
	`|` + host + ` cannot be reached(?:: its name is not known|; check that builds reach it)|cannot be fetched from ` + host + `: its name is not known|` + host + `: Name or service not known`)

// away returns the name of a host that could not be found in the build.
func (t *trial) away() string {
	said, _ := os.ReadFile(t.log.Name())
	if m := away.FindSubmatch(said); m != nil {
		return string(bytes.Join(m[1:], nil))
	}
	return ""
}

func (t *trial) refusal(err error) (verdict, string) {
	if err == nil {
		return verdictFailed, "went live, but was expected to be refused"
	}
	said, _ := os.ReadFile(t.log.Name())
	if ok, _ := regexp.Match(t.Refused, said); !ok {
		return verdictFailed, "refused for another reason: " + err.Error()
	}
	return verdictRefused, err.Error()
}

// push pushes main and returns how long it took. The error of a push that fails has the server's reason.
func (t *trial) push(ctx context.Context, dir string) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.limit, fmt.Errorf("the push did not end in %s", t.limit))
	defer cancel()
	began := time.Now()
	err := t.run(ctx, dir, nil, "git", "push", "platform", "main")
	took := time.Since(began)
	if err == nil {
		return took, nil
	}
	if ctx.Err() != nil {
		return took, context.Cause(ctx)
	}
	said, _ := os.ReadFile(t.log.Name())
	return took, errors.New(t.why(string(said), err))
}

var rejected = regexp.MustCompile(`\[remote rejected\][^(]*\((.*)\)`)

// why finds the server's reason in what the push said.
func (t *trial) why(said string, err error) string {
	if m := rejected.FindAllStringSubmatch(said, -1); m != nil {
		return m[len(m)-1][1]
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return err.Error() + ": " + lines[len(lines)-1]
}

// again pushes the app with one file more.
func (t *trial) again(ctx context.Context, dir string) (time.Duration, error) {
	if err := os.WriteFile(filepath.Join(dir, "changed.txt"), []byte("one line\n"), 0o644); err != nil {
		return 0, err
	}
	for _, args := range [][]string{{"add", "--force", "changed.txt"}, {"commit", "--quiet", "--message=Change"}} {
		if err := t.run(ctx, dir, nil, "git", args...); err != nil {
			return 0, err
		}
	}
	said, err := t.log.Stat()
	if err != nil {
		return 0, err
	}
	took, err := t.push(ctx, dir)
	if err != nil {
		return took, fmt.Errorf("second push: %w", err)
	}
	return took, t.kept(said.Size())
}
