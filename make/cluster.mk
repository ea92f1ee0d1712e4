# The test cluster: a real Kubernetes with Knative Serving and Kourier on this machine, from source. See test/cluster/README.md.
CLUSTER := cd test/cluster && GOFLAGS= GOWORK=off go run .

.PHONY: cluster cluster-build cluster-up cluster-eventing cluster-down cluster-status need-cluster
cluster: cluster-up ## bring up a test cluster: Kubernetes, Knative Serving, Kourier, in namespaces of its own

cluster-build: need-cluster ## build what is missing of the test cluster: minutes where nothing is cached
	@$(CLUSTER) build

cluster-up: need-cluster
	@$(CLUSTER) up

cluster-eventing: need-go ## install Knative Eventing in the test cluster that is up
	@$(CLUSTER) eventing

cluster-down: need-go ## end the test cluster and remove everything of it but the cache
	@$(CLUSTER) down

cluster-status: need-go ## say what of the test cluster runs, and how to reach it
	@$(CLUSTER) status

need-cluster: need-go
	@[ "$$(id -u)" = 0 ] || { echo "a cluster makes namespaces and mounts: run make as root" >&2; exit 1; }
	@$(call need,command -v containerd,containerd)
	@$(call need,command -v runc,runc)
	@$(call need,test -x /usr/lib/cni/bridge,containernetworking-plugins)
	@$(call need,command -v iptables,iptables)
	@$(call need,command -v conntrack,conntrack)
	@$(call need,command -v slirp4netns,slirp4netns)
	@$(call need,command -v mount,mount)
	@$(call need,command -v pip3 || python3 -m pip --version,python3-pip)
