package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A part is one process of the node.
type part struct {
	name    string
	command []string
	env     []string
	healthy func(ctx context.Context) error
}

// How long a part may take to become healthy, on a machine that is busy with other things.
const healthLimit = 3 * time.Minute

// manager runs the parts. One that ends without having been told to is started again, as systemd would.
type manager struct {
	settings Settings
	parts    []part

	mu      sync.Mutex
	running map[string]*process
	state   nodeState
}

type process struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	stopped bool // on purpose
}

// nodeState is what the manager tells of the node.
type nodeState struct {
	Started bool              // every part was started and was healthy
	Failed  string            // why the start failed
	Parts   map[string]string // name: "running", "stopped", or what happened
	Timings []timing          // of the start
}

type timing struct {
	What string
	Took time.Duration
}

// manageNode is node-manager.
func manageNode() error {
	dir := Dir(inCluster)
	s, err := dir.settings()
	if err != nil {
		return err
	}
	m := &manager{settings: s, running: map[string]*process{}, state: nodeState{Parts: map[string]string{}}}
	m.parts = []part{etcd(), apiServer(s)}
	if !s.Bare {
		m.parts = append(m.parts, controllerManager(), scheduler(), containerd(), kubelet(), kubeProxy(), registryPart(s))
	}
	socket := filepath.Join(inCluster, "control.sock")
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	go func() {
		if err := m.start(ctx); err != nil {
			m.mu.Lock()
			m.state.Failed = err.Error()
			m.mu.Unlock()
			return
		}
		m.mu.Lock()
		m.state.Started = true
		m.mu.Unlock()
		if !s.Bare {
			provisionVolumes(ctx)
		}
	}()
	return http.Serve(listener, m.handler())
}

// start brings up the node. What does not depend on each other starts at the same time.
func (m *manager) start(ctx context.Context) error {
	begin := time.Now()
	took := func(what string) {
		m.mu.Lock()
		m.state.Timings = append(m.state.Timings, timing{what, time.Since(begin)})
		m.mu.Unlock()
	}
	if err := setUpNetwork(m.settings); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	imported := make(chan error, 1)
	if !m.settings.Bare {
		if err := errors.Join(configureContainerd(m.settings), configureKubelet(), configureProxy()); err != nil {
			return err
		}
		if err := m.launch("containerd", "registry"); err != nil {
			return err
		}
		go func() {
			err := m.wait(ctx, "containerd")
			if err == nil {
				err = importImages(ctx)
			}
			took("images imported")
			imported <- err
		}()
	}
	for _, part := range []string{"etcd", "kube-apiserver"} {
		if err := m.launch(part); err != nil {
			return err
		}
		if err := m.wait(ctx, part); err != nil {
			return err
		}
	}
	took("API server ready")
	if m.settings.Bare {
		return nil
	}
	if err := m.launch("kube-controller-manager", "kube-scheduler", "kube-proxy"); err != nil {
		return err
	}
	// The kubelet would try to pull an image that is not there yet, and wait long before it looks again.
	if err := <-imported; err != nil {
		return err
	}
	if err := m.kubelet(ctx); err != nil {
		return err
	}
	took("node ready")
	return nil
}

// kubelet starts the last part, and returns when all parts and the node are ready.
func (m *manager) kubelet(ctx context.Context) error {
	if err := m.launch("kubelet"); err != nil {
		return err
	}
	var names []string
	for _, p := range m.parts {
		names = append(names, p.name)
	}
	if err := m.wait(ctx, names...); err != nil {
		return err
	}
	return nodeReady(ctx, time.Time{})
}

func (m *manager) part(name string) (part, error) {
	for _, p := range m.parts {
		if p.name == name {
			return p, nil
		}
	}
	var known []string
	for _, p := range m.parts {
		known = append(known, p.name)
	}
	return part{}, fmt.Errorf("no part is called %s; there are %s and node", name, strings.Join(known, ", "))
}

// launch starts parts that are not running.
func (m *manager) launch(names ...string) error {
	for _, name := range names {
		p, err := m.part(name)
		if err != nil {
			return err
		}
		m.mu.Lock()
		if m.running[name] == nil {
			err = m.spawn(p)
		}
		m.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// spawn starts a part; the caller holds the lock.
func (m *manager) spawn(p part) error {
	log, err := os.OpenFile(filepath.Join(inCluster, "log", p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	run := &process{cmd: cmd, ended: make(chan struct{})}
	m.running[p.name] = run
	m.state.Parts[p.name] = "running"
	go func() {
		err := errOf(cmd.Wait())
		close(run.ended)
		m.mu.Lock()
		m.running[p.name] = nil
		if run.stopped {
			m.state.Parts[p.name] = "stopped"
			m.mu.Unlock()
			return
		}
		m.state.Parts[p.name] = fmt.Sprintf("ended (%v)", err)
		m.mu.Unlock()
		time.Sleep(time.Second)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.running[p.name] == nil && m.state.Parts[p.name] != "stopped" {
			_ = m.spawn(p)
		}
	}()
	return nil
}

// wait returns when all the parts are healthy.
func (m *manager) wait(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	for _, name := range names {
		p, err := m.part(name)
		if err != nil {
			return err
		}
		for {
			once, stop := context.WithTimeout(ctx, 5*time.Second)
			err := p.healthy(once)
			stop()
			if err == nil {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s is not healthy after %s: %w; the end of its log:\n%s", name, healthLimit, err,
					tail(filepath.Join(inCluster, "log", name+".log"), 5))
			}
		}
	}
	return nil
}

// kill ends a part at once, as a crash would.
func (m *manager) kill(name string) error {
	if _, err := m.part(name); err != nil {
		return err
	}
	m.mu.Lock()
	run := m.running[name]
	m.state.Parts[name] = "stopped"
	if run != nil {
		run.stopped = true
		_ = unix.Kill(-run.cmd.Process.Pid, unix.SIGKILL)
	}
	m.mu.Unlock()
	if run != nil {
		<-run.ended
	}
	return nil
}

// nodeParts are the parts that a worker machine would have; with all its pods they are what is lost with it.
var nodeParts = []string{"containerd", "kubelet"}

func (m *manager) stopPart(name string) error {
	if name != "node" {
		return m.kill(partName(name))
	}
	for _, p := range nodeParts {
		if err := m.kill(p); err != nil {
			return err
		}
	}
	return killPods()
}

func (m *manager) startPart(ctx context.Context, name string) error {
	begin := time.Now().Truncate(time.Second) // as precise as what the kubelet reports
	names := []string{partName(name)}
	if name == "node" {
		names = nodeParts
	}
	for _, n := range names {
		if err := m.launch(n); err != nil {
			return err
		}
		if err := m.wait(ctx, n); err != nil {
			return err
		}
	}
	switch name {
	case "kubelet", "containerd":
		return nodeReady(ctx, begin)
	case "node":
		if err := nodeReady(ctx, begin); err != nil {
			return err
		}
		return systemPodsReady(ctx, begin)
	}
	return nil
}

// partName completes a short name: apiserver is kube-apiserver.
func partName(name string) string {
	switch name {
	case "apiserver", "controller-manager", "scheduler", "proxy":
		return "kube-" + name
	}
	return name
}

func (m *manager) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any, err error) {
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			value = map[string]string{"Error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		answer(w, m.state, nil)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		ill := map[string]string{}
		for _, p := range m.parts {
			if err := p.healthy(r.Context()); err != nil {
				ill[p.name] = err.Error()
			}
		}
		answer(w, ill, nil)
	})
	mux.HandleFunc("POST /stop/{part}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, m.stopPart(r.PathValue("part")))
	})
	mux.HandleFunc("POST /start/{part}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, m.startPart(r.Context(), r.PathValue("part")))
	})
	return mux
}

// httpHealth asks a health endpoint. Those of the control plane have certificates that they make themselves.
func httpHealth(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure(), DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
			return fmt.Errorf("%s: %s: %s", url, response.Status, body)
		}
		return nil
	}
}

// tail returns the last lines of a file.
func tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
