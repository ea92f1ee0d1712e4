package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The node is three steps of this program:
//
//	node-enter   in new namespaces: joins the control group, builds a root directory, moves into it, becomes
//	node-init    process 1: starts node-manager and collects orphaned processes
//	node-manager starts the parts of Kubernetes and answers `cluster stop`, `start` and `status`

// Where things are in the node.
const (
	inCluster  = "/cluster"  // the state directory
	inPrograms = "/programs" // the binaries
	inImages   = "/images"   // the image archives
)

// enterNode is node-enter. It does not return.
func enterNode(dir Dir) error {
	s, err := dir.settings()
	if err != nil {
		return err
	}
	names, err := hierarchies()
	if err != nil {
		return err
	}
	if err := joinCgroup(s.Cgroup); err != nil {
		return err
	}
	// Unshare is for one thread. The exec below is called on it, and keeps what it has.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("control group namespace: %w", err)
	}
	// The signal that the daemon asked for came with the first thread, and this need not be it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(nodeName)); err != nil {
		return err
	}
	if err := enterRoot(dir, s, names); err != nil {
		return fmt.Errorf("root directory of the node: %w", err)
	}
	return unix.Exec(inCluster+"/cluster", []string{"cluster", "node-init"}, []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
	})
}

// enterRoot makes the node's own root directory: the programs and libraries of the host, read-only, a few of its settings, and
// nothing else of it. Pods that mount a host path see this.
func enterRoot(dir Dir, s Settings, cgroups []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	root := dir.path("root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("root", root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	in := func(path string) string { return filepath.Join(root, path) }
	if err := makeFolders(dir, in); err != nil {
		return err
	}
	if err := bindAll(dir, s, in); err != nil {
		return err
	}
	if err := writeFiles(in); err != nil {
		return err
	}
	if err := unix.Mount("proc", in("proc"), "proc", 0, ""); err != nil {
		return err
	}
	// sysfs shows the network interfaces of the namespace it was mounted in.
	if err := unix.Mount("sysfs", in("sys"), "sysfs", 0, ""); err != nil {
		return err
	}
	if err := mountCgroups(in("sys/fs/cgroup"), cgroups); err != nil {
		return err
	}
	old := in("run") // out of the way in a moment
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/run", unix.MNT_DETACH); err != nil {
		return err
	}
	// Volumes that the kubelet mounts must appear in containers that already see the directory.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// makeFolders makes the folders of the node's root, and those of the cluster's directory that it mounts.
func makeFolders(dir Dir, in func(string) string) error {
	for _, d := range []string{"etc", "proc", "sys", "dev", "tmp", "run", "var", "root", "cluster", "programs", "images"} {
		if err := os.Mkdir(in(d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"tmp", "var/lib/kubelet", "var/lib/containerd", "var/lib/cni", "var/log/pods", "var/log/containers", "var/tmp"} {
		if err := os.MkdirAll(dir.path(d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir.path("tmp"), 0o1777); err != nil {
		return err
	}
	if err := os.Symlink("/run", dir.path("var", "run")); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

// bindAll mounts what the node sees of this machine, and its own data.
func bindAll(dir Dir, s Settings, in func(string) string) error {
	binds := []struct {
		from, to string
		readOnly bool
	}{
		{dir.path(), in("cluster"), false},
		{dir.path("var"), in("var"), false}, // a real file system: overlay, which containerd uses, does not work on all
		{dir.path("tmp"), in("tmp"), false}, // volumes are below it
		{s.Programs, in("programs"), true},
		{s.Images, in("images"), true},
		{"/dev", in("dev"), false},
	}
	for _, name := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
		// alternatives says which iptables is in use.
		"/etc/alternatives", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/protocols", "/etc/services",
		"/etc/ethertypes", "/etc/ssl", "/etc/ca-certificates", "/usr/share/ca-certificates", "/etc/localtime"} {
		if link, err := os.Readlink(name); err == nil {
			if err := os.Symlink(link, in(name)); err != nil {
				return err
			}
		} else if _, err := os.Stat(name); err == nil && !strings.HasPrefix(name, "/usr/") {
			binds = append(binds, struct {
				from, to string
				readOnly bool
			}{name, in(name), true})
		}
	}
	for _, b := range binds {
		if b.from == "" { // no images in a bare cluster
			continue
		}
		if err := bind(b.from, b.to, b.readOnly); err != nil {
			return fmt.Errorf("bind %s: %w", b.from, err)
		}
	}
	return nil
}

// writeFiles writes the node's own files in /etc.
func writeFiles(in func(string) string) error {
	for file, content := range map[string]string{
		"etc/hosts":       "127.0.0.1 localhost\n" + nodeIP + " " + nodeName + "\n", // and no ::1: kube-proxy serves node ports on IPv4
		"etc/hostname":    nodeName + "\n",
		"etc/resolv.conf": "nameserver " + nameServer + "\n",
		"etc/machine-id":  strings.Repeat("0", 31) + "1\n",
	} {
		if err := os.WriteFile(in(file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func bind(from, to string, readOnly bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if err := os.WriteFile(to, nil, 0o644); err != nil {
			return err
		}
	} else if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !readOnly {
		return nil
	}
	return unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// initNode is node-init, process 1 of the node. The kernel hands it every process whose parent has ended, such as containerd's
// shims, and expects it to wait for them; and when it ends, kills all others.
func initNode() error {
	manager, err := os.StartProcess(inCluster+"/cluster", []string{"cluster", "node-manager"}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && err != unix.EINTR {
			return err
		}
		if pid == manager.Pid {
			return errors.New("the manager ended")
		}
	}
}
