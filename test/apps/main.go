// Command apps pushes public sample apps, as they are, to a throwaway server, and says which of them go live. apps.toml lists
// them. It reads them from bare mirrors in a folder, and ends with a status other than 0 where fewer than 95 % of those that
// are counted go live. With -kinds it pushes apps of ours instead, those of kinds/: one for a language, a package manager and
// a framework.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitd-io/gitd/test/stage"
)

// wanted is how many of a hundred must go live.
const wanted = 95

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.mirrors, "mirrors", "", "the `folder` with the bare mirrors of the repositories: OWNER/NAME.git")
	flag.StringVar(&o.only, "run", "", "try only the samples whose name or language matches this `pattern`")
	flag.StringVar(&o.list, "list", "", "the `file` with another list than apps.toml")
	flag.BoolVar(&o.kinds, "kinds", false, "try the apps of ours, one for a language, a package manager and a framework, instead of the list")
	flag.StringVar(&o.logs, "logs", "bin/results/apps", "the `folder` for what each push says, and for results.jsonl and results.md")
	flag.DurationVar(&o.limit, "limit", 15*time.Minute, "how long a push may take")
	flag.IntVar(&o.jobs, "jobs", 1, "how many samples are tried at a time")
	flag.BoolVar(&o.goOn, "continue", false, "leave out the samples that have a result in the folder of -logs")
	flag.Parse()
	if err := try(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "apps: "+err.Error())
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	mirrors, only, list, logs string
	limit                     time.Duration
	jobs                      int
	goOn, kinds               bool
}

func try(ctx context.Context, o options) (err error) {
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	all, err := samples(o.list)
	if o.kinds {
		all, err = fixtures()
	}
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(s sample) bool { return !pattern.MatchString(s.name()) && !pattern.MatchString(s.Language) })
	if o.mirrors == "" && slices.ContainsFunc(all, func(s sample) bool { return s.Repository != "" && s.Needs == "" }) {
		return errors.New("name the folder of the mirrors: make test-apps MIRRORS=DIR")
	}
	if o.mirrors, err = filepath.Abs(o.mirrors); err != nil {
		return err
	}
	kept, err := openResults(o.logs, o.goOn)
	if err != nil {
		return err
	}
	defer kept.close()
	st, err := stage.New("bin/gitd")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := begin(ctx, st, o.limit); err != nil {
		return err
	}
	work, trying := errgroup.WithContext(ctx)
	work.SetLimit(max(o.jobs, 1))
	for i := range all {
		s := &all[i]
		if kept.has(s) {
			continue
		}
		work.Go(func() error {
			r, err := one(trying, &trial{sample: s, stage: st, mirrors: o.mirrors, limit: o.limit}, o.logs)
			if err == nil {
				err = trying.Err()
			}
			if err != nil {
				return err
			}
			return kept.add(os.Stdout, r)
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return kept.summary(os.Stdout, all)
}

// begin starts the server, whose builds may take as long as a push may, and registers the developer's key.
func begin(ctx context.Context, st *stage.Stage, limit time.Duration) error {
	if err := st.Serve(ctx, os.Stderr, "--build-time", limit.String()); err != nil {
		return err
	}
	key, err := st.Key(ctx)
	if err != nil {
		return err
	}
	pub, err := os.Open(key)
	if err != nil {
		return err
	}
	defer pub.Close()
	c := exec.CommandContext(ctx, st.Gitd, "keys", "add", "laptop", "--admin", "--data", st.Data())
	c.Stdin = pub
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("gitd keys add: %w: %s", err, out)
	}
	return nil
}

func one(ctx context.Context, t *trial, logs string) (r result, err error) {
	if t.log, err = os.Create(filepath.Join(logs, t.app()+".log")); err != nil {
		return r, err
	}
	defer t.log.Close()
	return t.try(ctx), nil
}
