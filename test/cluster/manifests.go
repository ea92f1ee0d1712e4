package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

// parseManifests reads the YAML documents of a file.
func parseManifests(data []byte) ([]object, error) {
	var all []object
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var o map[string]any
		if err := decoder.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			return nil, err
		}
		if len(o) > 0 { // a document may hold nothing but comments
			all = append(all, o)
		}
	}
}

// moduleDirs returns the directories of modules that go.mod names, and downloads those that are not here.
func moduleDirs(ctx context.Context, modules ...string) (map[string]string, error) {
	here, err := moduleDir()
	if err != nil {
		return nil, err
	}
	return moduleDirsOf(ctx, here, modules...)
}

// moduleDirsOf is moduleDirs for the go.mod in a directory.
func moduleDirsOf(ctx context.Context, dir string, modules ...string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"mod", "download", "-json"}, modules...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, failed := cmd.Output() // the reason is in the output, if it is about a module
	dirs := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Dir, Error string }
		if err := decoder.Decode(&m); err != nil {
			break
		}
		if m.Error != "" {
			return nil, fmt.Errorf("go mod download %s: %s", m.Path, m.Error)
		}
		dirs[m.Path] = m.Dir
	}
	if failed != nil {
		return nil, fmt.Errorf("go mod download: %w", failed)
	}
	return dirs, nil
}

// readManifests reads the files that match the patterns, in that order.
func readManifests(patterns ...string) ([]object, error) {
	var all []object
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("no manifest is called %s", pattern)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			objects, err := parseManifests(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			all = append(all, objects...)
		}
	}
	return all, nil
}

// rewriteImages replaces references to Go packages, as the tool ko reads them, with the images that were made of them, by package.
func rewriteImages(value any, images map[string]string) any {
	switch v := value.(type) {
	case string:
		if source, ok := strings.CutPrefix(v, "ko://"); ok {
			if ref, ok := images[source]; ok {
				return ref
			}
		}
	case map[string]any:
		for k := range v {
			v[k] = rewriteImages(v[k], images)
		}
	case []any:
		for i := range v {
			v[i] = rewriteImages(v[i], images)
		}
	}
	return value
}

// alone are deployments of one Pod that need not ask who leads: 45 leases, each renewed every other second, were a quarter of all requests to the API server, and what
// came after a killed Pod waited for the end of its lease. Serving's controller and the autoscaler know no such flag.
var alone = []string{"webhook", "net-kourier-controller", "eventing-controller", "eventing-webhook", "imc-controller", "imc-dispatcher", "mt-broker-controller"}

// shrink makes a deployment fit a developer's machine: requests that leave the processor to the apps, no throttling of a component
// that is just starting, and readiness seen soon after it is there. A machine that is busy for some seconds does not end a component, nor
// takes it from its Service: the channels of Eventing have their events in memory, and the ingress goes by whether its gateway is ready.
func shrink(o object) {
	if o["kind"] != "Deployment" {
		return
	}
	for _, c := range containers(o) {
		resources := map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "20Mi"}}
		if limits, ok := object(c).at("resources", "limits", "memory").(string); ok {
			resources["limits"] = map[string]any{"memory": limits}
		}
		c["resources"] = resources
		if slices.Contains(alone, o.name()) {
			args, _ := c["args"].([]any)
			c["args"] = append(args, "-disable-ha")
		}
		if probe, ok := c["readinessProbe"].(map[string]any); ok {
			delete(probe, "initialDelaySeconds")
			probe["periodSeconds"] = 1
			probe["failureThreshold"] = 10
			probe["timeoutSeconds"] = 5
		}
		if probe, ok := c["livenessProbe"].(map[string]any); ok {
			probe["periodSeconds"] = 10
			probe["failureThreshold"] = 6
			probe["timeoutSeconds"] = 10
		}
	}
}

func containers(o object) []map[string]any {
	var all []map[string]any
	list, _ := o.at("spec", "template", "spec", "containers").([]any)
	for _, c := range list {
		if c, ok := c.(map[string]any); ok {
			all = append(all, c)
		}
	}
	return all
}

// setData sets values of the ConfigMap with this name. Later it would take the admission webhook to be up, and every component to
// see the change.
func setData(objects []object, configMap string, values map[string]string) error {
	for _, o := range objects {
		if o["kind"] == "ConfigMap" && o.name() == configMap {
			data, _ := o["data"].(map[string]any)
			if data == nil {
				data = map[string]any{}
				o["data"] = data
			}
			for k, v := range values {
				data[k] = v
			}
			return nil
		}
	}
	return fmt.Errorf("no ConfigMap is called %s", configMap)
}

// phase orders kinds: what others need to be there comes first. Webhooks come last: once one is registered, what it guards cannot
// be written until it answers.
func phase(o object) int {
	switch o["kind"] {
	case "Namespace", "CustomResourceDefinition":
		return 0
	case "Deployment":
		return 2
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		return 3
	}
	return 1
}

// applyAll applies objects phase by phase, those of a phase at the same time.
func applyAll(ctx context.Context, a *api, objects []object) error {
	for p := 0; p <= 3; p++ {
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(8)
		for _, o := range objects {
			if phase(o) == p {
				group.Go(func() error { return applyOne(gctx, a, o) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// applyOne applies an object. What depends on something that is not there yet (a kind, a webhook) is tried again for a while.
func applyOne(ctx context.Context, a *api, o object) error {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var final error
	err := poll(limited, 200*time.Millisecond, func() error {
		err := a.apply(ctx, o)
		var refused *apiError
		if errors.As(err, &refused) && slices.Contains([]int{http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusForbidden}, refused.code) {
			final = err
			return nil
		}
		return err
	})
	return errors.Join(final, err)
}

// waitAvailable waits until all deployments of the namespace are available.
func waitAvailable(ctx context.Context, a *api, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() error {
		deployments, err := a.list(ctx, "/apis/apps/v1/namespaces/"+namespace+"/deployments")
		if err != nil {
			return err
		}
		if len(deployments) == 0 {
			return fmt.Errorf("namespace %s has no deployment", namespace)
		}
		for _, d := range deployments {
			if message, ok := d.condition("Available"); !ok {
				return fmt.Errorf("deployment %s/%s is not available: %s", namespace, d.name(), message)
			}
		}
		return nil
	})
}
