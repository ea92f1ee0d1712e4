package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

const (
	eventingModule    = "knative.dev/eventing"
	eventingNamespace = "knative-eventing"
)

// eventingPrograms are the commands of Knative Eventing that run: its controller and webhook, the broker of channels (controller, ingress,
// filter), the channel in memory (controller, dispatcher), and what sends the events of PingSources. Their sources are in the module eventing/.
var eventingPrograms = []string{
	"knative.dev/eventing/cmd/broker/filter",
	"knative.dev/eventing/cmd/broker/ingress",
	"knative.dev/eventing/cmd/controller",
	"knative.dev/eventing/cmd/in_memory/channel_controller",
	"knative.dev/eventing/cmd/in_memory/channel_dispatcher",
	"knative.dev/eventing/cmd/mtchannel_broker",
	"knative.dev/eventing/cmd/mtping",
	"knative.dev/eventing/cmd/webhook",
}

// eventing installs Knative Eventing in a cluster that is up, beside what runs there. Its images come to the node by the cluster's registry.
func eventing(ctx context.Context, dir Dir, out io.Writer) error {
	unlock, err := dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	s, err := dir.settings()
	if err != nil || !dir.running() || s.Bare {
		return fmt.Errorf("%w in %s: bring it up first", errDown, dir)
	}
	if _, err := os.Stat(dir.path("eventing")); err == nil {
		fmt.Fprintln(out, "-----> Knative Eventing is installed already")
		return nil
	}
	watch := newStopwatch(out)
	fmt.Fprintln(out, "-----> Building what is missing of Knative Eventing and its images")
	archives, err := buildEventing(ctx, out)
	if err != nil {
		return err
	}
	watch.took("binaries and images")
	images, err := pushEventing(ctx, archives, fmt.Sprintf("127.0.0.1:%d", s.RegistryPort))
	if err != nil {
		return err
	}
	watch.took("images pushed")
	a, err := newAPI(dir, fmt.Sprintf("127.0.0.1:%d", s.APIPort))
	if err != nil {
		return err
	}
	objects, err := eventingManifests(ctx, images)
	if err != nil {
		return fmt.Errorf("manifests of Knative Eventing: %w", err)
	}
	if err := applyAll(ctx, a, objects); err != nil {
		return err
	}
	watch.took("manifests applied")
	if err := waitAvailable(ctx, a, eventingNamespace); err != nil {
		return err
	}
	watch.took("Knative Eventing available")
	return writeFile(dir.path("eventing"), "", 0o644)
}

// buildEventing returns the archives of the images, by the package that each is made of. Those that are there are not made again.
func buildEventing(ctx context.Context, progress io.Writer) (map[string]string, error) {
	module, err := moduleDir()
	if err != nil {
		return nil, err
	}
	module = filepath.Join(module, "eventing")
	h := sha256.New()
	fmt.Fprintln(h, imageFormat, runtime.Version(), runtime.GOARCH, linkFlags(), eventingPrograms)
	key, err := hashFiles(h, module, []string{"go.mod", "go.sum"})
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	unlock, err := lockCache(cache)
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(cache, "eventing-"+key)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	prune(cache, "eventing-", dir)
	archives := map[string]string{}
	var missing []string
	for _, p := range eventingPrograms {
		archives[p] = filepath.Join(dir, path.Base(p)+".tar")
		if _, err := os.Stat(archives[p]); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return archives, nil
	}
	if err := compile(ctx, module, dir, missing, progress); err != nil {
		return nil, err
	}
	for _, p := range missing {
		program := filepath.Join(dir, path.Base(p))
		entry := "/ko-app/" + path.Base(p)
		i := image{path.Base(p), imageHost + "/eventing/" + path.Base(p) + ":1", map[string]string{entry: program}, entry}
		if err := writeImage(i, archives[p]+".new"); err != nil {
			return nil, fmt.Errorf("image %s: %w", i.ref, err)
		}
		if err := os.Rename(archives[p]+".new", archives[p]); err != nil {
			return nil, err
		}
		if err := os.Remove(program); err != nil {
			return nil, err
		}
	}
	return archives, nil
}

// pushEventing puts the images into the registry, and returns how the node names them.
func pushEventing(ctx context.Context, archives map[string]string, registry string) (map[string]string, error) {
	images := map[string]string{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, p := range sortedKeys(archives) {
		ref, err := name.NewTag(registry+"/knative-eventing/"+path.Base(p)+":1", name.Insecure)
		if err != nil {
			return nil, err
		}
		img, err := tarball.ImageFromPath(archives[p], nil)
		if err != nil {
			return nil, err
		}
		digest, err := img.Digest()
		if err != nil {
			return nil, err
		}
		images[p] = ref.Context().Name() + "@" + digest.String()
		group.Go(func() error { return remote.Write(ref, img, remote.WithContext(ctx)) })
	}
	return images, group.Wait()
}

// eventingManifests read Knative Eventing's manifests from its module and settle them.
func eventingManifests(ctx context.Context, images map[string]string) ([]object, error) {
	here, err := moduleDir()
	if err != nil {
		return nil, err
	}
	modules, err := moduleDirsOf(ctx, filepath.Join(here, "eventing"), eventingModule)
	if err != nil {
		return nil, err
	}
	config := modules[eventingModule] + "/config/"
	core, broker, channel := config+"core/", config+"brokers/mt-channel-broker/", config+"channels/in-memory-channel/"
	objects, err := readManifests(
		core+"100-namespace.yaml", core+"200-*.yaml", core+"roles/*.yaml", core+"resources/*.yaml", core+"configmaps/*.yaml",
		// And not the sinks that run Jobs or answer requests, nor the HorizontalPodAutoscalers: there are no metrics.
		core+"deployments/controller.yaml", core+"deployments/pingsource-mt-adapter.yaml", core+"deployments/webhook.yaml", core+"webhooks/*.yaml",
		channel+"200-*.yaml", channel+"roles/*.yaml", channel+"resources/*.yaml", channel+"configmaps/*.yaml", channel+"deployments/*.yaml", channel+"webhooks/*.yaml",
		broker+"roles/*.yaml", broker+"deployments/controller.yaml", broker+"deployments/broker-filter.yaml", broker+"deployments/broker-ingress.yaml",
	)
	if err != nil {
		return nil, err
	}
	if err := setData(objects, "config-leader-election", knativeSettings["config-leader-election"]); err != nil {
		return nil, err
	}
	for _, o := range objects {
		rewriteImages(map[string]any(o), images)
		shrink(o)
		withoutImages(o)
	}
	return slices.DeleteFunc(objects, func(o object) bool {
		return o["kind"] == "HorizontalPodAutoscaler" || o["kind"] == "PodDisruptionBudget"
	}), nil
}

// withoutImages takes from a deployment what it would be told of the images of sources, sinks and transformations: they do not run here.
func withoutImages(o object) {
	if o["kind"] != "Deployment" {
		return
	}
	for _, c := range containers(o) {
		env, _ := c["env"].([]any)
		c["env"] = slices.DeleteFunc(env, func(v any) bool {
			e, _ := v.(map[string]any)
			return object(e).at("valueFrom", "configMapKeyRef") != nil
		})
	}
}
