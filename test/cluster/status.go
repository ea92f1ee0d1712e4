package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// status prints what runs. It fails unless everything does.
func status(ctx context.Context, dir Dir, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := dir.settings()
	if err != nil || !dir.running() {
		return fmt.Errorf("%w in %s", errDown, dir)
	}
	var state nodeState
	if err := dir.control(ctx, "GET", "/status", &state); err != nil {
		return err
	}
	ill := map[string]string{}
	if err := dir.control(ctx, "GET", "/health", &ill); err != nil {
		return err
	}
	well := state.Started
	for _, name := range sortedKeys(state.Parts) {
		fmt.Fprintf(out, "%-24s %s", name, state.Parts[name])
		if reason := ill[name]; reason != "" {
			well = false
			fmt.Fprintf(out, ", not healthy: %s", reason)
		}
		fmt.Fprintln(out)
	}
	if !s.Bare {
		well = deployments(ctx, dir, s, out) && well
	}
	fmt.Fprint(out, dir.env(s))
	if _, err := os.Stat(dir.path("ready")); err != nil {
		return errors.New("the cluster is not installed yet: run up")
	}
	if !well {
		return errors.New("not all of the cluster is well")
	}
	return nil
}

// deployments prints the state of the cluster's own deployments.
func deployments(ctx context.Context, dir Dir, s Settings, out io.Writer) (well bool) {
	a, err := newAPI(dir, fmt.Sprintf("127.0.0.1:%d", s.APIPort))
	if err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	well = true
	all := systemNamespaces
	if _, err := os.Stat(dir.path("eventing")); err == nil {
		all = append(slices.Clone(all), eventingNamespace)
	}
	for _, ns := range all {
		list, err := a.list(ctx, "/apis/apps/v1/namespaces/"+ns+"/deployments")
		if err != nil {
			fmt.Fprintln(out, err)
			return false
		}
		for _, d := range list {
			state := "available"
			if message, ok := d.condition("Available"); !ok {
				well, state = false, "not available: "+message
			}
			fmt.Fprintf(out, "%-24s %s\n", d.name(), state)
		}
	}
	return well
}
