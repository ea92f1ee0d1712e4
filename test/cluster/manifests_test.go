package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) []object {
	t.Helper()
	objects, err := parseManifests([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestParseManifests(t *testing.T) {
	objects := parse(t, "# only a comment\n---\nkind: A\nmetadata: {name: a}\n---\n---\nkind: B\nmetadata: {name: b, namespace: n}\n")
	if len(objects) != 2 || objects[0].name() != "a" || objects[0].namespace() != "default" || objects[1].namespace() != "n" {
		t.Errorf("got %v", objects)
	}
	if _, err := parseManifests([]byte("kind: [")); err == nil {
		t.Error("broken YAML was taken")
	}
}

func TestShrink(t *testing.T) {
	o := parse(t, `
kind: Deployment
spec:
  template:
    spec:
      containers:
      - name: c
        image: ko://knative.dev/serving/cmd/queue
        env: [{name: OTHER, value: "ko://knative.dev/other"}]
        resources: {requests: {cpu: 300m, memory: 1Gi}, limits: {cpu: "1", memory: 2Gi}}
        readinessProbe: {initialDelaySeconds: 10, periodSeconds: 5, failureThreshold: 3}
        livenessProbe: {initialDelaySeconds: 10, periodSeconds: 2, timeoutSeconds: 1}
`)[0]
	rewriteImages(map[string]any(o), koImages)
	shrink(o)
	got, err := json.Marshal(containers(o)[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"env":[{"name":"OTHER","value":"ko://knative.dev/other"}],"image":"dev.local/knative/queue:v0.48.0",` +
		`"livenessProbe":{"failureThreshold":6,"initialDelaySeconds":10,"periodSeconds":10,"timeoutSeconds":10},"name":"c",` +
		`"readinessProbe":{"failureThreshold":10,"periodSeconds":1,"timeoutSeconds":5},` +
		`"resources":{"limits":{"memory":"2Gi"},"requests":{"cpu":"10m","memory":"20Mi"}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The manifests of the modules that go.mod names must be what this program expects them to be.
func TestModules(t *testing.T) {
	modules, err := moduleDirs(t.Context(), servingModule, networkingModule, cachingModule, kourierModule)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := knativeManifests(modules)
	if err != nil {
		t.Fatal(err)
	}
	kourier, err := kourierManifests(modules)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range append(serving, kourier...) {
		kind, _ := o["kind"].(string)
		kinds[kind]++
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "ko://") {
			t.Errorf("%s %s still names a Go package as its image", kind, o.name())
		}
	}
	for kind, n := range map[string]int{"Deployment": 6, "CustomResourceDefinition": 12, "HorizontalPodAutoscaler": 0, "PodDisruptionBudget": 0} {
		if kinds[kind] != n {
			t.Errorf("%d of kind %s, want %d", kinds[kind], kind, n)
		}
	}
	for name, values := range knativeSettings {
		for _, o := range serving {
			if o["kind"] == "ConfigMap" && o.name() == name {
				for k, v := range values {
					if got, _ := o.at("data", k).(string); got != v {
						t.Errorf("%s: %s is %q, want %q", name, k, got, v)
					}
				}
			}
		}
	}
	for _, o := range kourier {
		if o["kind"] == "Deployment" && o.name() == gatewayName {
			if c := containers(o)[0]; c["image"] != envoyImage || object(c).at("lifecycle", "preStop", "exec") != nil {
				t.Errorf("the gateway's container is %v", c)
			}
		}
	}
	for _, text := range []string{corednsManifests, storageManifests} {
		if len(parse(t, text)) == 0 {
			t.Error("manifests of our own are empty")
		}
	}
}

// The same for Knative Eventing, which has a go.mod of its own.
func TestEventingModule(t *testing.T) {
	images := map[string]string{}
	for _, p := range eventingPrograms {
		images[p] = "registry/" + p
	}
	objects, err := eventingManifests(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range objects {
		kind, _ := o["kind"].(string)
		kinds[kind]++
		for _, c := range containers(o) {
			if data, err := json.Marshal(c); err != nil || !strings.Contains(string(data), `"image":"registry/`) || strings.Contains(string(data), "configMapKeyRef") {
				t.Errorf("%s %s: a container that is not settled: %s (%v)", kind, o.name(), data, err)
			}
		}
	}
	for kind, n := range map[string]int{"Deployment": 8, "CustomResourceDefinition": 18, "HorizontalPodAutoscaler": 0, "PodDisruptionBudget": 0} {
		if kinds[kind] != n {
			t.Errorf("%d of kind %s, want %d", kinds[kind], kind, n)
		}
	}
}

func TestPhase(t *testing.T) {
	order := []string{"Namespace", "ConfigMap", "Deployment", "ValidatingWebhookConfiguration"}
	for i, kind := range order {
		if got := phase(object{"kind": kind}); got != i {
			t.Errorf("%s is of phase %d, want %d", kind, got, i)
		}
	}
}

func TestSetDataOfUnknown(t *testing.T) {
	if err := setData(nil, "config-gone", nil); err == nil {
		t.Error("a ConfigMap that is not there was set")
	}
}

func TestCondition(t *testing.T) {
	o := parse(t, `status: {conditions: [{type: Ready, status: "False", message: no network}, {type: Disk, status: "True"}]}`)[0]
	if message, ok := o.condition("Ready"); ok || message != "no network" {
		t.Errorf("Ready: %q, %t", message, ok)
	}
	if _, ok := o.condition("Disk"); !ok {
		t.Error("Disk is not true")
	}
	if _, ok := o.condition("Other"); ok {
		t.Error("a condition that is not there is true")
	}
}
