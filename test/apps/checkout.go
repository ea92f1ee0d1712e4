package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mirror finds the bare mirror of a repository in the folder of mirrors: OWNER/NAME.git, OWNER/NAME, or OWNER+NAME with the
// mirror in it or in a folder of it named repo.
func mirror(mirrors, repository string) (string, error) {
	flat := strings.ReplaceAll(repository, "/", "+")
	for _, d := range []string{repository + ".git", repository, flat + ".git", flat + "/repo", flat} {
		d = filepath.Join(mirrors, d)
		if _, err := os.Stat(filepath.Join(d, "objects")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("%s has no mirror of %s", mirrors, repository)
}

// checkout lays out the app as a repository of its own with one commit, as its author would push it.
func (t *trial) checkout(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if t.fixture != "" {
		if err := t.layOut(dir); err != nil {
			return err
		}
	} else if t.Repository != "" {
		m, err := mirror(t.mirrors, t.Repository)
		if err != nil {
			return err
		}
		index := "GIT_INDEX_FILE=" + dir + ".index"
		defer os.Remove(dir + ".index")
		if err := t.run(ctx, dir, []string{index}, "git", "--git-dir="+m, "read-tree", t.Commit+":"+t.Path); err != nil {
			return err
		}
		if err := t.run(ctx, dir, []string{index}, "git", "--git-dir="+m, "--work-tree="+dir, "checkout-index", "--all"); err != nil {
			return err
		}
	} else if err := t.run(ctx, dir, []string{"npm_config_yes=true"}, t.Create[0], t.Create[1:]...); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil { // of a starter
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"add", "--all"}, {"commit", "--quiet", "--message=As it is published"},
		{"remote", "add", "platform", "ssh://git@" + t.stage.SSH + "/" + t.app()},
	} {
		if err := t.run(ctx, dir, nil, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command of the developer in dir; what it says goes to the trial's log.
func (t *trial) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	fmt.Fprintf(t.log, "$ %s %s\n", name, strings.Join(args, " "))
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Stdout, c.Stderr = dir, t.log, t.log
	c.Env = append(t.stage.Env(), env...)
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}
