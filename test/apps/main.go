// Command apps pushes public sample apps, as they are, to a throwaway server, and says which of them go live. apps.toml lists
// them. It reads them from bare mirrors in a folder, and ends with a status other than 0 where fewer than 95 % of those that
// are counted go live.
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

	"github.com/gitd-io/gitd/test/stage"
)

// wanted is how many of a hundred must go live.
const wanted = 95

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mirrors := flag.String("mirrors", "", "the `folder` with the bare mirrors of the repositories: OWNER/NAME.git")
	only := flag.String("run", "", "try only the samples whose name or language matches this `pattern`")
	logs := flag.String("logs", "bin/results/apps", "the `folder` for what each push says")
	limit := flag.Duration("limit", 15*time.Minute, "how long a push may take")
	flag.Parse()
	if err := try(ctx, *mirrors, *only, *logs, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "apps: "+err.Error())
		os.Exit(1)
	}
}

func try(ctx context.Context, mirrors, only, logs string, limit time.Duration) (err error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := samples()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(s sample) bool { return !pattern.MatchString(s.name()) && !pattern.MatchString(s.Language) })
	if mirrors == "" && slices.ContainsFunc(all, func(s sample) bool { return s.Repository != "" && s.Needs == "" }) {
		return errors.New("name the folder of the mirrors: make test-apps MIRRORS=DIR")
	}
	if mirrors, err = filepath.Abs(mirrors); err != nil {
		return err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	st, err := stage.New("bin/gitd")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := begin(ctx, st); err != nil {
		return err
	}
	var results []result
	for i := range all {
		s := &all[i]
		r, err := one(ctx, &trial{sample: s, stage: st, mirrors: mirrors, limit: limit}, logs)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.print(os.Stdout)
		results = append(results, r)
	}
	return summary(os.Stdout, results)
}

// begin starts the server and registers the developer's key.
func begin(ctx context.Context, st *stage.Stage) error {
	if err := st.Serve(ctx, os.Stderr); err != nil {
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
