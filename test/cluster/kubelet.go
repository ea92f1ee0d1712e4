package main

// kubelet starts the pods that are assigned to the node.
func kubelet() part {
	return part{
		name: "kubelet",
		command: []string{kubernetesBinary, "kubelet",
			"--config=" + inCluster + "/etc/kubelet.yaml", "--kubeconfig=" + pki + "/kubelet.kubeconfig",
			"--node-ip=" + nodeIP, "--hostname-override=" + nodeName,
			"--housekeeping-interval=30s", // of its statistics about containers, which are not read here
		},
		healthy: httpHealth("http://127.0.0.1:10248/healthz"),
	}
}

func configureKubelet() error {
	return writeFile(inCluster+"/etc/kubelet.yaml", `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: `+nodeIP+`
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: `+pki+`/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: `+pki+`/kubelet-server.crt
tlsPrivateKeyFile: `+pki+`/kubelet-server.key
healthzBindAddress: 127.0.0.1
containerRuntimeEndpoint: unix://`+containerdSocket+`
clusterDomain: cluster.local
clusterDNS: [`+dnsIP+`]
resolvConf: /etc/resolv.conf
podCIDR: `+podRange+`
maxPods: 200
# The node has no systemd, and may have control groups of version 1, which the kubelet refuses by default.
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
# Renewed at a quarter of it: the control plane sees a lost node within seconds.
nodeLeaseDurationSeconds: 8
nodeStatusUpdateFrequency: 10s
syncFrequency: 10s
serializeImagePulls: false
# The disk is the developer's own: neither images nor pods are removed because it is rather full.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
`, 0o644)
}

// kubeProxy makes the addresses of services work, by firewall rules in the node's network namespace.
func kubeProxy() part {
	return part{
		name:    "kube-proxy",
		command: []string{kubernetesBinary, "kube-proxy", "--config=" + inCluster + "/etc/kube-proxy.yaml", "--hostname-override=" + nodeName},
		healthy: httpHealth("http://127.0.0.1:10256/livez"),
	}
}

func configureProxy() error {
	// Limits of connection tracking belong to the machine, not to a network namespace: zero leaves them alone. Node ports are served
	// on loopback too, so that containerd, which takes "localhost" for plain HTTP, can pull from a registry in the cluster.
	return writeFile(inCluster+"/etc/kube-proxy.yaml", `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: `+podRange+`
clientConnection: {kubeconfig: `+pki+`/proxy.kubeconfig}
bindAddress: `+nodeIP+`
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {localhostNodePorts: true, minSyncPeriod: 100ms, syncPeriod: 60s}
nodePortAddresses: []
`, 0o644)
}
