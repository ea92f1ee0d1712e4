package main

import (
	"bytes"

	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What the server may weigh: each command and each helper process pays for it at its start. docs/architecture.md says what it is made of.
const (
	maxSize     = 43e6 // bytes, as make build makes it
	maxPackages = 725
	// Bytes that init functions allocate: beyond 2.8 MB, with what main adds, garbage is collected before a command has run.
	maxAllocated = 2.4e6
)

// unwanted are packages that the server must not have, with what they are for.
var unwanted = map[string]string{
	`^github.com/buildpacks/pack/`:                                                                           "making builder images is gitd-builder's",
	`^github.com/buildpacks/(lifecycle|imgutil|libcnb)(/|$)`:                                                 "reading and writing images is gitd-helper's; it brings the credential helpers of clouds",
	`^github.com/go-git/go-git/v5/plumbing/transport`:                                                        "unsafe for what strangers send",
	`^k8s.io/client-go/kubernetes/scheme$`:                                                                   "all types of Kubernetes: 10 MB",
	`^github.com/distribution/distribution/v3/registry/(handlers|storage/driver/(base|filesystem|factory))$`: "redis, grpc, exporters: 14 MB",
	`^github.com/prometheus/`:                                                                                "internal/telemetry writes its formats; distribution's metrics are not served: internal/nometrics",
	`^google.golang.org/grpc$`:                                                                               "nothing here speaks it",
	`^go.opentelemetry.io/(otel/(exporters|sdk)|proto)/`:                                                     "internal/telemetry writes its protocol",
	`^github.com/gitd-io/gitd/.*test(support)?$`:                                                             "test support",
}

func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	for form, why := range unwanted {
		for _, p := range packages {
			if regexp.MustCompile(form).MatchString(p) {
				t.Errorf("%s is in the server: %s", p, why)
			}
		}
	}
	if len(packages) > maxPackages {
		t.Errorf("%d packages, at most %d: look at go list -deps for what came, and at docs/architecture.md for what it costs", len(packages), maxPackages)
	}
}

// TestWeight weighs bin/gitd, which make test makes: it lies beside the parts.
func TestWeight(t *testing.T) {
	parts := os.Getenv("GITD_PARTS")
	if parts == "" {
		t.Skip("make test names the folder of the parts")
	}
	gitd := filepath.Join(parts, "../gitd")
	info, err := os.Stat(gitd)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxSize {
		t.Errorf("%s has %.1f MB, at most %.0f", gitd, float64(info.Size())/1e6, maxSize/1e6)
	}
	version := exec.Command(gitd, "version")
	version.Env = append(os.Environ(), "GODEBUG=inittrace=1,gctrace=1")
	var trace bytes.Buffer
	version.Stderr = &trace
	if err := version.Run(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(trace.String(), "gc 1 @") {
		t.Error("garbage is collected while gitd version runs")
	}
	allocated := 0
	for _, m := range regexp.MustCompile(`(\d+) bytes`).FindAllStringSubmatch(trace.String(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		allocated += n
	}
	if allocated == 0 || allocated > maxAllocated {
		t.Errorf("the packages' init functions allocate %.1f MB, at most %.1f: GODEBUG=inittrace=1 shows which", float64(allocated)/1e6, maxAllocated/1e6)
	}
}
