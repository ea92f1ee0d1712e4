package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/operation"
)

// configure sets what the app is to have before its first push.
func (t *trial) configure(ctx context.Context) error {
	if len(t.Set) == 0 {
		return nil
	}
	if err := t.run(ctx, t.stage.Dir, nil, t.stage.Gitd, "apps", "create", t.app(), "--data", t.stage.Data()); err != nil {
		return err
	}
	return t.run(ctx, t.stage.Dir, nil, t.stage.Gitd, append([]string{"config", "set", t.app(), "--stage", "--data", t.stage.Data()}, t.Set...)...)
}

// ask runs a command that prints JSON.
func (t *trial) ask(ctx context.Context, to any, args ...string) error {
	c := exec.CommandContext(ctx, t.stage.Gitd, append(args, t.app(), "--json", "--data", t.stage.Data())...)
	c.Stderr = t.log
	out, err := c.Output()
	fmt.Fprintf(t.log, "$ gitd %s\n%s\n", args[0], out)
	if err != nil {
		return fmt.Errorf("gitd %s: %w", args[0], err)
	}
	return json.Unmarshal(out, to)
}

// moved looks at what an app that comes from another platform has brought along: its release command, its workers, its configuration, its schedules.
func (t *trial) moved(ctx context.Context) error {
	said, err := os.ReadFile(t.log.Name())
	if err != nil {
		return err
	}
	for _, pattern := range t.Says {
		if !regexp.MustCompile(pattern).Match(said) {
			return fmt.Errorf("the push does not say %q", pattern)
		}
	}
	if len(t.Has) > 0 {
		var c operation.AppConfig
		if err := t.ask(ctx, &c, "config"); err != nil {
			return err
		}
		for _, name := range t.Has {
			if !slices.ContainsFunc(c.Variables, func(v operation.ConfigVariable) bool { return v.Name == name && v.State == "live" }) {
				return fmt.Errorf("its configuration has no %s", name)
			}
		}
	}
	if len(t.Schedules) > 0 {
		var all []operation.Schedule
		if err := t.ask(ctx, &all, "schedules"); err != nil {
			return err
		}
		for _, name := range t.Schedules {
			if !slices.ContainsFunc(all, func(s operation.Schedule) bool { return s.Name == name && s.Next != nil }) {
				return fmt.Errorf("it has no schedule %s", name)
			}
		}
	}
	if err := t.sees(ctx); err != nil {
		return err
	}
	return t.up(ctx)
}

// sees runs a command beside the app, and looks at its variables.
func (t *trial) sees(ctx context.Context) error {
	for _, v := range t.Env {
		name, want, _ := strings.Cut(v, "=")
		c := exec.CommandContext(ctx, t.stage.Gitd, "run", t.app(), "--data", t.stage.Data(), "--", "printenv", name)
		c.Stderr = t.log
		got, err := c.Output()
		fmt.Fprintf(t.log, "$ gitd run printenv %s\n%s", name, got)
		if err != nil {
			return fmt.Errorf("gitd run printenv %s: %w", name, err)
		}
		if strings.TrimSuffix(string(got), "\n") != want {
			return fmt.Errorf("its %s is %q", name, got)
		}
	}
	return nil
}

// up waits until the workers are up.
func (t *trial) up(ctx context.Context) error {
	for until := time.Now().Add(time.Minute); len(t.Runs) > 0; time.Sleep(time.Second) {
		var p operation.Processes
		if err := t.ask(ctx, &p, "ps"); err != nil {
			return err
		}
		missing := slices.DeleteFunc(slices.Clone(t.Runs), func(kind string) bool {
			return slices.ContainsFunc(p.Instances, func(i operation.ProcessInstance) bool { return i.Type == kind && i.State == "up" })
		})
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("not up: %v", missing)
		}
	}
	return nil
}
