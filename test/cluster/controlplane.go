package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

const (
	kubernetesBinary = inPrograms + "/kubernetes"
	pki              = inCluster + "/pki"
)

// etcd keeps the state of the cluster.
func etcd() part {
	return part{
		name: "etcd",
		command: []string{kubernetesBinary, "etcd",
			"--data-dir=" + inCluster + "/etcd",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
			"--unsafe-no-fsync", // a crash of the machine ends the cluster anyway; a crash of etcd loses nothing
			"--log-level=warn",
		},
		healthy: httpHealth("http://127.0.0.1:2379/health"),
	}
}

func apiServer(s Settings) part {
	command := []string{kubernetesBinary, "kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address=" + nodeIP,
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--client-ca-file=" + pki + "/ca.crt",
		"--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
		// Logs, exec and port-forward go to the kubelet, by address: no name server knows the node's name.
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority=" + pki + "/ca.crt",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet.crt", "--kubelet-client-key=" + pki + "/apiserver-kubelet.key",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki + "/tokens.pub", "--service-account-signing-key-file=" + pki + "/tokens.key",
		// The default writes a lease every ten seconds and drops the address of a server that was killed from the kubernetes
		// service; this one just keeps the address there.
		"--endpoint-reconciler-type=master-count",
		// Pods leave a lost node after seconds instead of five minutes.
		"--default-not-ready-toleration-seconds=5", "--default-unreachable-toleration-seconds=5",
		"--profiling=false",
	}
	health := httpHealth("https://127.0.0.1:6443/readyz")
	if s.Bare {
		// readyz waits for hooks that fill in what a cluster of pods needs.
		health = httpHealth("https://127.0.0.1:6443/livez")
	}
	// The API server takes a third of all processor time here: it collects its garbage a quarter as often as with 400 MB less.
	return part{name: "kube-apiserver", command: command, env: []string{"GOGC=200"}, healthy: health}
}

func controllerManager() part {
	const config = pki + "/controller-manager.kubeconfig"
	return part{
		name: "kube-controller-manager",
		command: []string{kubernetesBinary, "kube-controller-manager",
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--service-account-private-key-file=" + pki + "/tokens.key", "--root-ca-file=" + pki + "/ca.crt",
			"--cluster-signing-cert-file=" + pki + "/ca.crt", "--cluster-signing-key-file=" + pki + "/ca.key",
			"--use-service-account-credentials",
			"--leader-elect=false", // there is one; a restarted one need not wait for the lease of the killed one
			"--allocate-node-cidrs=false", "--cluster-cidr=" + podRange,
			// A lost node is noticed after 12 s instead of 50: the kubelet renews its lease every 2 s.
			"--node-monitor-period=2s", "--node-monitor-grace-period=12s",
			"--bind-address=127.0.0.1", "--profiling=false",
		},
		healthy: httpHealth("https://127.0.0.1:10257/healthz"),
	}
}

func scheduler() part {
	const config = pki + "/scheduler.kubeconfig"
	return part{
		name: "kube-scheduler",
		command: []string{kubernetesBinary, "kube-scheduler",
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
		},
		healthy: httpHealth("https://127.0.0.1:10259/healthz"),
	}
}

// insecure is for health endpoints on loopback: nothing is sent to them and nothing believed but their status.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// nodeReady waits until the API server takes the node for ready, having heard from its kubelet since the given time.
func nodeReady(ctx context.Context, since time.Time) error {
	api, err := newAPI(Dir(inCluster), "127.0.0.1:6443")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() error {
		lease, err := api.get(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+nodeName)
		if err != nil {
			return fmt.Errorf("the node did not register: %w", err)
		}
		renewed, err := time.Parse(time.RFC3339Nano, lease.text("spec", "renewTime"))
		if err != nil || renewed.Before(since) {
			return errors.New("the kubelet did not renew its lease yet")
		}
		node, err := api.get(ctx, "/api/v1/nodes/"+nodeName)
		if err != nil {
			return err
		}
		if message, ok := node.condition("Ready"); !ok {
			return fmt.Errorf("the node is not ready: %s", message)
		}
		return nil
	})
}

// systemPodsReady waits until the cluster's own pods are ready, with containers that were started since the given time.
func systemPodsReady(ctx context.Context, since time.Time) error {
	api, err := newAPI(Dir(inCluster), "127.0.0.1:6443")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() error {
		for _, ns := range systemNamespaces {
			pods, err := api.list(ctx, "/api/v1/namespaces/"+ns+"/pods")
			if err != nil {
				return err
			}
			for _, p := range pods {
				message, ready := p.condition("Ready")
				containers, _ := p.at("status", "containerStatuses").([]any)
				for _, c := range containers {
					status, _ := c.(map[string]any)
					started, err := time.Parse(time.RFC3339, object(status).text("state", "running", "startedAt"))
					ready = ready && err == nil && !started.Before(since)
				}
				if !ready {
					return fmt.Errorf("pod %s/%s is not ready again: %s", ns, p.name(), message)
				}
			}
		}
		return nil
	})
}
