package main

import (
	"context"
	"fmt"
)

// domain is that of all apps: a Service "web" in the namespace "shop" is served at web.shop.gitd.test.
const domain = "gitd.test"

// koImages are the images made of commands of Knative's modules, by the package that the manifests name.
var koImages = map[string]string{
	"knative.dev/serving/cmd/activator":   imageHost + "/knative/activator:v0.48.0",
	"knative.dev/serving/cmd/autoscaler":  imageHost + "/knative/autoscaler:v0.48.0",
	"knative.dev/serving/cmd/controller":  imageHost + "/knative/controller:v0.48.0",
	"knative.dev/serving/cmd/queue":       imageHost + "/knative/queue:v0.48.0",
	"knative.dev/serving/cmd/webhook":     imageHost + "/knative/webhook:v0.48.0",
	"knative.dev/net-kourier/cmd/kourier": imageHost + "/knative/kourier:v0.48.0",
}

const (
	servingModule    = "knative.dev/serving"
	networkingModule = "knative.dev/networking"
	cachingModule    = "knative.dev/caching"
	kourierModule    = "knative.dev/net-kourier"
)

// systemNamespaces are where the cluster's own deployments are.
var systemNamespaces = []string{"kube-system", "knative-serving", gatewayNamespace}

// knativeSettings are where this installation differs from Knative's defaults.
var knativeSettings = map[string]map[string]string{
	"config-network": {"ingress-class": kourierClass},
	"config-domain":  {domain: ""},
	// Scaling to zero within the patience of a test. Six seconds are the least that is allowed.
	"config-autoscaler": {"stable-window": "6s", "scale-to-zero-grace-period": "6s"},
	// A component that was killed leaves its lease behind: the next one waits for that long.
	"config-leader-election": {"lease-duration": "15s", "renew-deadline": "10s", "retry-period": "2s"},
}

// knativeManifests read Knative Serving's manifests from its modules and settle them. modules are their directories.
func knativeManifests(modules map[string]string) ([]object, error) {
	core := modules[servingModule] + "/config/core/"
	networking := modules[networkingModule] + "/config/"
	objects, err := readManifests(
		core+"100-namespace.yaml", core+"200-roles/*.yaml", core+"200-serviceaccount.yaml",
		core+"300-resources/*.yaml",
		// In the repository, these are links to files of other modules, and a module's archive has no links.
		networking+"certificate.yaml", networking+"domain-claim.yaml", networking+"ingress.yaml", networking+"serverlessservice.yaml",
		modules[cachingModule]+"/config/image.yaml",
		core+"configmaps/*.yaml", networking+"config-network.yaml",
		core+"deployments/activator.yaml", core+"deployments/autoscaler.yaml", core+"deployments/controller.yaml",
		core+"deployments/webhook.yaml", // and not the HorizontalPodAutoscalers: there are no metrics
		core+"webhooks/*.yaml",
	)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(knativeSettings) {
		if err := setData(objects, name, knativeSettings[name]); err != nil {
			return nil, err
		}
	}
	for _, o := range objects {
		rewriteImages(map[string]any(o), koImages)
		shrink(o)
	}
	return objects, nil
}

// installKnative installs Serving and Kourier, and waits until all of it is available.
func installKnative(ctx context.Context, a *api, took func(string)) error {
	modules, err := moduleDirs(ctx, servingModule, networkingModule, cachingModule, kourierModule)
	if err != nil {
		return err
	}
	dns, err := parseManifests([]byte(corednsManifests))
	if err != nil {
		return err
	}
	storage, err := parseManifests([]byte(storageManifests))
	if err != nil {
		return err
	}
	serving, err := knativeManifests(modules)
	if err != nil {
		return fmt.Errorf("manifests of Knative: %w", err)
	}
	kourier, err := kourierManifests(modules)
	if err != nil {
		return fmt.Errorf("manifests of Kourier: %w", err)
	}
	all := append(append(append(dns, storage...), serving...), kourier...)
	if err := applyAll(ctx, a, all); err != nil {
		return err
	}
	took("manifests applied")
	for i, what := range []string{"CoreDNS", "Knative Serving and Kourier's controller", "Kourier's gateway"} {
		if err := waitAvailable(ctx, a, systemNamespaces[i]); err != nil {
			return err
		}
		took(what + " available")
	}
	return nil
}
