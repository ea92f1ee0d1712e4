package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// daemon is the part of a cluster that stays on the host: it owns the node, its way out (slirp4netns) and the ways in (forward).
// When it ends, for whatever reason, the kernel kills the node, and with the node's process 1 everything in it.
func daemon(dir Dir, listeners []*os.File) error {
	// The kernel sends the death signal of children when the thread ends that started them.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	s, err := dir.settings()
	if err != nil {
		return err
	}
	if err := makeCgroup(s.Cgroup); err != nil {
		return fmt.Errorf("control group: %w", err)
	}

	node := exec.Command(dir.path("cluster"), "node-enter", string(dir))
	node.Stdout, node.Stderr = os.Stdout, os.Stderr
	node.SysProcAttr = &unix.SysProcAttr{
		// The control group namespace is missing here: its root is the group that the process is in, so node-enter joins first.
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := node.Start(); err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	ended := make(chan error, 2)
	gone := make(chan struct{})
	go func() {
		ended <- fmt.Errorf("the node ended: %w", errOf(node.Wait()))
		close(gone)
	}()
	defer func() {
		_ = node.Process.Kill()
		<-gone // process 1 is the last one in the node to end
	}()

	space := fmt.Sprintf("/proc/%d/ns/net", node.Process.Pid)
	if !s.Bare {
		slirp, err := startSlirp(space, node.Process.Pid)
		if err != nil {
			return err
		}
		go func() { ended <- fmt.Errorf("slirp4netns ended: %w", errOf(slirp.Wait())) }()
		defer func() { _ = slirp.Process.Kill() }()
	}
	network, err := enterNetwork(space)
	if err != nil {
		return err
	}
	if err := forwardAll(listeners, network, s.RegistryPort); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// forwardAll takes connections to the sockets of this machine into the node's network: the API server's, the ingress's, the registry's.
func forwardAll(listeners []*os.File, network *namespace, registryPort int) error {
	targets := []string{"127.0.0.1:6443", gatewayIP + ":80", fmt.Sprintf("127.0.0.1:%d", registryPort)}
	for i, f := range listeners {
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		go forward(l, network, targets[i])
	}
	return nil
}

// startSlirp gives the node an interface tap0 whose packets slirp4netns turns into ordinary connections of its own: a way out
// that needs neither an interface nor a firewall rule nor forwarding on the host. 10.0.2.2 is the host's loopback, 10.0.2.3 a
// name server that asks the host's.
func startSlirp(space string, pid int) (*exec.Cmd, error) {
	ready, signal, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	cmd := exec.Command("slirp4netns", "--configure", "--mtu=65520", "--ready-fd=3", strconv.Itoa(pid), "tap0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{signal}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	err = cmd.Start()
	signal.Close()
	if err != nil {
		return nil, fmt.Errorf("slirp4netns: %w", err)
	}
	_ = ready.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill()
		return nil, errors.New("slirp4netns could not set up the node's interface; it says why above")
	}
	return cmd, nil
}

func errOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// listenAll listens on ports that the kernel chooses, and notes them. The caller closes the sockets, those returned with an error too.
func listenAll(ports []*int) (listeners []*os.File, err error) {
	for _, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return listeners, err
		}
		*port = l.Addr().(*net.TCPAddr).Port
		f, err := l.(*net.TCPListener).File()
		l.Close()
		if err != nil {
			return listeners, err
		}
		listeners = append(listeners, f)
	}
	return listeners, nil
}

// startDaemon leaves a daemon behind that is a copy of this program: the program may be a temporary file of `go run`.
func startDaemon(dir Dir, s *Settings) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir.path("cluster"), program, 0o755); err != nil {
		return err
	}
	// The ports are chosen by the kernel, and the sockets handed over: no other process can take them in between.
	ports := []*int{&s.APIPort, &s.IngressPort, &s.RegistryPort}
	if s.Bare {
		ports = ports[:1]
	}
	listeners, err := listenAll(ports)
	for _, f := range listeners {
		defer f.Close()
	}
	if err != nil {
		return err
	}
	if err := dir.save(*s); err != nil {
		return err
	}
	if err := makePKI(dir.path("pki"), *s); err != nil {
		return err
	}
	admin, err := os.ReadFile(dir.path("pki", "admin.kubeconfig"))
	if err != nil {
		return err
	}
	if err := writeFile(dir.path("kubeconfig"), string(admin), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(dir.path("log"), 0o755); err != nil {
		return err
	}
	return launchDaemon(dir, listeners)
}

// launchDaemon starts the process that outlives this one, and notes its ID.
func launchDaemon(dir Dir, listeners []*os.File) error {
	log, err := os.Create(dir.path("log", "daemon.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(dir.path("cluster"), "daemon", string(dir))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.ExtraFiles = listeners
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true} // a ^C at the terminal is not for it
	if err := cmd.Start(); err != nil {
		return err
	}
	id, err := processID(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := writeFile(dir.path("daemon.pid"), id, 0o644); err != nil {
		return err
	}
	return cmd.Process.Release()
}
