package main

import (
	"fmt"
	"slices"
)

const (
	kourierClass     = "kourier.ingress.networking.knative.dev"
	gatewayNamespace = "kourier-system"
	gatewayName      = "3scale-kourier-gateway"
	envoyImage       = imageHost + "/envoy:v" + envoyVersion
)

// kourierManifests read the ingress's manifests from its module and settle them. Kourier's controller tells Envoy, the gateway,
// by xDS which host leads to which revision in which share.
func kourierManifests(modules map[string]string) ([]object, error) {
	config := modules[kourierModule] + "/config/"
	objects, err := readManifests(config+"100-namespace.yaml", config+"200-*.yaml", config+"300-*.yaml")
	if err != nil {
		return nil, err
	}
	// One gateway on one node without metrics: nothing to scale, and no rule about how many may go.
	objects = slices.DeleteFunc(objects, func(o object) bool {
		return o["kind"] == "HorizontalPodAutoscaler" || o["kind"] == "PodDisruptionBudget"
	})
	var gateway, service bool
	for _, o := range objects {
		rewriteImages(map[string]any(o), koImages)
		shrink(o)
		switch {
		case o["kind"] == "Deployment" && o.name() == gatewayName:
			gateway = true
			settleGateway(o)
		case o["kind"] == "Service" && o.name() == "kourier" && o.namespace() == gatewayNamespace:
			service = true
			spec := o["spec"].(map[string]any)
			spec["type"] = "ClusterIP" // there is no load balancer; the daemon forwards to this address
			spec["clusterIP"] = gatewayIP
		}
	}
	if !gateway || !service {
		return nil, fmt.Errorf("the gateway (found: %t) or its service (found: %t) is called something else", gateway, service)
	}
	return objects, nil
}

func settleGateway(o object) {
	for _, c := range containers(o) {
		c["image"] = envoyImage
		args, _ := c["args"].([]any)
		c["args"] = append(args, "--concurrency 1") // one worker thread instead of one for each core
		// The hook calls a shell and curl, which this image does not have. Waiting does what matters: by then no new requests come.
		c["lifecycle"] = map[string]any{"preStop": map[string]any{"sleep": map[string]any{"seconds": 5}}}
	}
}
