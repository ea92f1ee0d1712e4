package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The addresses inside the node. They mean nothing outside of its network namespace, so every cluster has the same.
const (
	nodeName     = "node"
	nodeIP       = "10.0.2.100" // slirp4netns's choice for tap0
	nameServer   = "10.0.2.3"   // slirp4netns's
	podRange     = "10.200.0.0/24"
	serviceRange = "10.201.0.0/24"
	apiServiceIP = "10.201.0.1" // the first of the range: the API server takes it for itself
	// Addresses that are set by hand are among the first 16 of a range of 256: others are given those only when all else are taken.
	dnsIP     = "10.201.0.10" // CoreDNS
	gatewayIP = "10.201.0.11" // Kourier's gateway
)

// setUpNetwork brings up the interfaces and lets the node route between pods and the world.
func setUpNetwork(s Settings) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	if s.Bare { // no way out, but the API server wants an address other than loopback's to advertise
		return netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(nodeIP), Mask: net.CIDRMask(32, 32)}})
	}
	if err := waitForTap(20 * time.Second); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	// kube-proxy's rules must see what a pod sends to a service and the bridge hands straight to a pod.
	if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("the kernel has no br_netfilter (try: modprobe br_netfilter): %w", err)
	}
	return nil
}

func waitForTap(limit time.Duration) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		tap, err := netlink.LinkByName("tap0")
		if err != nil {
			continue
		}
		addresses, err := netlink.AddrList(tap, unix.AF_INET)
		if err == nil && len(addresses) > 0 {
			if addresses[0].IP.String() != nodeIP {
				return fmt.Errorf("slirp4netns gave the node %s, not %s", addresses[0].IP, nodeIP)
			}
			return nil
		}
	}
	return fmt.Errorf("slirp4netns gave the node no address within %s", limit)
}

// podNetwork is the CNI configuration by which containerd connects pods: a bridge, addresses from the node's range, and the node's
// address for what leaves it (slirp4netns knows no other).
const podNetwork = `{
  "cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + podRange + `"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`
