package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cluster is what test/cluster brought up. The scripts in testdata/cluster run against it.
type cluster struct {
	kubeconfig string
	kubectl    string
	ingress    string // host:port, from here
	domain     string
	registry   string // host:port of an empty one, from here
	program    string // of test/cluster
	host       string // this machine's loopback, as nodes and Pods name it
}

// theCluster is nil where the tests are for this machine alone. prepare sets it.
var theCluster *cluster

// clusterVariable names the folder of a running cluster's files. Where it is set, the scripts of testdata/cluster run.
const clusterVariable = "GITD_CLUSTER_DIR"

// findCluster reads what the cluster's folder says.
func findCluster() (*cluster, error) {
	dir := os.Getenv(clusterVariable)
	if dir == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(dir, "env"))
	if err != nil {
		return nil, fmt.Errorf("no cluster runs in $%s: %w (make cluster brings one up)", clusterVariable, err)
	}
	defer func() { _ = f.Close() }()
	env := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		k, v, _ := strings.Cut(strings.TrimPrefix(s.Text(), "export "), "=")
		env[k] = strings.Trim(v, `"'`)
	}
	c := &cluster{kubeconfig: env["KUBECONFIG"], kubectl: env["GITD_CLUSTER_KUBECTL"], ingress: env["GITD_CLUSTER_INGRESS"], domain: env["GITD_CLUSTER_DOMAIN"], registry: env["GITD_CLUSTER_REGISTRY"],
		program: filepath.Join(dir, "cluster"), host: "10.0.2.2"} // slirp4netns's name for this machine's loopback
	for name, v := range map[string]string{"KUBECONFIG": c.kubeconfig, "GITD_CLUSTER_KUBECTL": c.kubectl, "GITD_CLUSTER_INGRESS": c.ingress,
		"GITD_CLUSTER_DOMAIN": c.domain, "GITD_CLUSTER_REGISTRY": c.registry} {
		if v == "" {
			return nil, fmt.Errorf("%s has no %s", f.Name(), name)
		}
	}
	return c, nil
}

// serveFlags are those of a gitd outside the cluster whose registry is its own.
func (c *cluster) serveFlags(w *world) ([]string, error) {
	if w.registry == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if err := l.Close(); err != nil {
			return nil, err
		}
		w.registry = port
		if out, err := exec.Command(c.program, "trust", c.host+":"+port).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cluster trust: %w\n%s", err, out)
		}
	}
	return []string{"--platform", "knative", "--kubeconfig", c.kubeconfig, "--namespace", w.namespace, "--build-namespace", w.namespace, "--ingress", c.ingress,
		"--registry-listen", "127.0.0.1:" + w.registry, "--registry-pull", c.host + ":" + w.registry}, nil
}

// openNamespace gives a script a namespace of its own.
func (c *cluster) openNamespace(w *world, env *testscript.Env) error {
	w.namespace = strings.TrimPrefix(filepath.Base(w.base), "gitd-")
	w.namespace = strings.ToLower(strings.ReplaceAll(w.namespace, "_", "-"))
	if out, err := c.run("create", "namespace", w.namespace); err != nil {
		return fmt.Errorf("create a namespace: %w\n%s", err, out)
	}
	w.http, w.domain = c.ingress, w.namespace+"."+c.domain
	env.Setenv("KUBECONFIG", c.kubeconfig)
	env.Setenv("NAMESPACE", w.namespace)
	env.Setenv("INGRESS", c.ingress)
	env.Setenv("DOMAIN", w.domain)
	env.Setenv("KUBECTL", c.kubectl)
	env.Setenv("HOST", c.host)
	env.Setenv("REGISTRY", c.registry)
	return nil
}

// closeNamespace has it removed with all that is in it. The test does not wait: Knative gives each Pod half a minute for its last requests.
func (c *cluster) closeNamespace(w *world) {
	if out, err := c.run("delete", "namespace", w.namespace, "--wait=false", "--ignore-not-found"); err != nil {
		w.tb.Errorf("remove the namespace: %v\n%s", err, out)
	}
}

func (c *cluster) run(args ...string) ([]byte, error) {
	cmd := exec.Command(c.kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

// cmdKubectl runs kubectl in the script's namespace. "< FILE" at the end is its standard input.
func cmdKubectl(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if theCluster == nil {
		ts.Fatalf("kubectl: these tests have no cluster")
	}
	var stdin []byte
	if n := len(args); n > 2 && args[n-2] == "<" {
		b, err := os.ReadFile(ts.MkAbs(args[n-1]))
		ts.Check(err)
		stdin, args = b, args[:n-2]
	}
	return run(ts, stdin, theCluster.kubectl, append([]string{"--namespace", w.namespace}, args...)...)
}

// cmdCluster stops and starts parts of the cluster; cluster https makes its ingress's port for TLS the one that https asks.
func cmdCluster(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if theCluster == nil {
		ts.Fatalf("cluster: these tests have none")
	}
	if len(args) == 1 && args[0] == "https" {
		return output{}, theCluster.forwardHTTPS(w, ts)
	}
	if len(args) == 0 {
		return output{}, errors.New("usage: cluster stop|start PART, cluster https")
	}
	return run(ts, nil, theCluster.program, args...)
}

// forwardHTTPS leads to the gateway's port for TLS until the script ends. kubectl gives up when nothing listens there, as it is until there is a certificate.
func (c *cluster) forwardHTTPS(w *world, ts *testscript.TestScript) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.https = l.Addr().String()
	_, port, _ := net.SplitHostPort(w.https)
	if err := l.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	ts.Defer(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, c.kubectl, "--namespace", "kourier-system", "port-forward", "service/kourier", port+":443")
			cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
			_ = cmd.Run()
		}
	}()
	return nil
}
