package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	trustedDir       = "certs.d" // in the state directory
)

// containerd pulls images and runs containers.
func containerd() part {
	return part{
		name:    "containerd",
		command: []string{"containerd", "--config", inCluster + "/etc/containerd.toml"},
		healthy: func(ctx context.Context) error { return ctr(ctx, "version") },
	}
}

func configureContainerd(s Settings) error {
	// containerd's own directory may lie on an overlay, in a container for instance, and overlays do not stack.
	snapshotter := "overlayfs"
	var f unix.Statfs_t
	if err := unix.Statfs("/var/lib/containerd", &f); err == nil && f.Type == unix.OVERLAYFS_SUPER_MAGIC {
		snapshotter = "native"
	}
	// Where a process may not lower its OOM score (CAP_SYS_RESOURCE), runc fails to start pods with "can't get final child's PID from
	// pipe: EOF"; restrict_oom_score_adj keeps to what is allowed. The kubelet says nothing of AppArmor, so it stays off.
	config := fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
`, containerdSocket, pauseImage, snapshotter, inCluster+"/etc/cni", filepath.Join(inCluster, trustedDir))
	dir := Dir(inCluster)
	return errors.Join(
		writeFile(dir.path("etc", "containerd.toml"), config, 0o644),
		writeFile(dir.path("etc", "cni", "10-pods.conflist"), podNetwork, 0o644),
		trust(dir, fmt.Sprintf("127.0.0.1:%d", s.RegistryPort)),
		trust(dir, fmt.Sprintf("%s:%d", nodeIP, s.RegistryPort)),
	)
}

// trust lets containerd pull from a registry by plain HTTP. It reads the file at each pull.
func trust(dir Dir, registry string) error {
	return writeFile(dir.path(trustedDir, registry, "hosts.toml"), fmt.Sprintf(
		"server = \"http://%[1]s\"\n\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", registry), 0o644)
}

// ctr runs containerd's own client.
func ctr(ctx context.Context, args ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address", containerdSocket, "--namespace", "k8s.io"}, args...)...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", args[0], err, strings.TrimSpace(output.String()))
	}
	return nil
}

// importImages gives containerd the images that the cluster itself runs.
func importImages(ctx context.Context) error {
	archives, err := filepath.Glob(inImages + "/*.tar")
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, a := range archives {
		group.Go(func() error { return ctr(ctx, "images", "import", a) })
	}
	return group.Wait()
}

// killPods kills every process of every pod and containerd's shims, as if the machine had lost power.
func killPods() error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		processes, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err
		}
		left := 0
		for _, p := range processes {
			groups, _ := os.ReadFile(filepath.Join(p, "cgroup"))
			command, _ := os.ReadFile(filepath.Join(p, "cmdline"))
			if !bytes.Contains(groups, []byte("/kubepods")) && !bytes.Contains(command, []byte("containerd-shim")) {
				continue
			}
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(p), "%d", &pid); err == nil && pid != 1 {
				left++
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of pods cannot be killed", left)
		}
	}
}
