package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/release"
)

// server is the gitd that is measured: one for the whole run, on a data directory of its own.
type server struct {
	b       *bench
	gitd    string
	data    string
	key     string
	process *process
	SSH     string `json:"ssh"`
	HTTP    string `json:"http"`
	HTTPS   string `json:"https"`
	PID     int    `json:"pid"`
	client  *http.Client
	apps    map[string]*source
}

// useServer starts gitd on first use.
func (b *bench) useServer() (*server, error) {
	if b.server != nil {
		return b.server, nil
	}
	s := &server{b: b, gitd: filepath.Join(b.bin, "gitd"), data: filepath.Join(b.dir, "data"), key: filepath.Join(b.dir, "key"), apps: map[string]*source{}}
	s.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return nil, err
	}
	if _, err := b.command("", nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", s.key); err != nil {
		return nil, err
	}
	b.say("starting gitd (the first time on a machine this makes the builder image)")
	b.onExit(s.purge)
	if err := s.serve("127.0.0.1:0", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	public, err := os.ReadFile(s.key + ".pub")
	if err != nil {
		return nil, err
	}
	if err := s.run(bytes.NewReader(public), "keys", "add", "bench", "--admin", "--data", s.data); err != nil {
		return nil, err
	}
	b.server = s
	return s, nil
}

// serve starts the daemon and returns when it is ready.
func (s *server) serve(sshAddress, httpAddress string) error {
	state := filepath.Join(s.data, "serve.json")
	if err := os.Remove(state); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	show := func(line string) { s.b.say("  gitd: %s", line) }
	args := []string{"serve", "--data", s.data, "--ssh", sshAddress, "--http", httpAddress, "--domain", "localhost", "--http-connections-per-address", strconv.Itoa(2 * manyConnections)}
	if s.b.chosen("tls") { // an older build, which the section versions may compare, does not know it
		args = append(args, "--https", "127.0.0.1:0")
	}
	p, err := start("gitd", []string{"GITD_TIMINGS=1"}, show, append([]string{s.gitd}, args...)...)
	if err != nil {
		return err
	}
	s.process = p
	err = p.wait(s.b.ctx, 15*time.Minute, func() error {
		text, err := os.ReadFile(state)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, s); err != nil {
			return err
		}
		if s.PID != p.pid() {
			return fmt.Errorf("serve.json is of process %d", s.PID)
		}
		return nil
	})
	p.out.quiet()
	return err
}

// run runs a command of gitd's own.
func (s *server) run(stdin io.Reader, args ...string) error {
	c, cancel := context.WithTimeout(context.WithoutCancel(s.b.ctx), 2*time.Minute)
	defer cancel()
	return runCommand(c, stdin, append([]string{s.gitd}, args...)...)
}

// purge stops gitd, and removes its data and everything that it holds of the machine.
func (s *server) purge() {
	if s.process != nil {
		s.process.stop(20 * time.Second)
	}
	if err := s.run(nil, "purge", "--data", s.data, "--yes"); err != nil {
		fmt.Fprintln(os.Stderr, "bench: left behind:", err)
	}
}

func (s *server) sshOptions() []string {
	return sshOptions(s.key, filepath.Join(s.b.dir, "known_hosts"))
}

// sshOptions are those of a client with a key, whom nothing else on the machine configures.
func sshOptions(key, knownHosts string) []string {
	return []string{"-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
		"-o", "UserKnownHostsFile=" + knownHosts, "-o", "LogLevel=ERROR"}
}

// sshCommand is the GIT_SSH_COMMAND for gitd and for its peer alike.
func (s *server) sshCommand() string {
	if s == nil {
		return "ssh"
	}
	return "ssh " + strings.Join(s.sshOptions(), " ")
}

// push pushes what is committed, and returns how long git took and what the server says of the parts.
func (s *server) push(app string, src *source) (time.Duration, *release.Timing, error) {
	began := time.Now()
	if _, err := s.b.git(src, "push", "-q", "ssh://git@"+s.SSH+"/"+app, "main"); err != nil {
		return 0, nil, fmt.Errorf("pushing %s: %w", app, err)
	}
	wall := time.Since(began)
	t, err := s.lastTimings(app)
	return wall, t, err
}

// lastTimings reads the last line about an app.
func (s *server) lastTimings(app string) (*release.Timing, error) {
	f, err := os.Open(filepath.Join(s.data, "timings.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var last *release.Timing
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var t release.Timing
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return nil, fmt.Errorf("timings.jsonl: %w", err)
		}
		if t.App == app {
			last = &t
		}
	}
	if last == nil {
		return nil, fmt.Errorf("timings.jsonl has no line about %s", app)
	}
	return last, nil
}

// get sends one request to an app.
func (s *server) get(client *http.Client, app, path string) (int, string, error) {
	r, err := http.NewRequestWithContext(s.b.ctx, http.MethodGet, "http://"+s.HTTP+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Host = app + ".localhost"
	a, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	return a.StatusCode, string(body), err
}

// instance is what our own small app says of itself.
type instance struct {
	build, started, namespace, port string
}

// who asks the app web or cold which instance answers.
func (s *server) who(app string) (instance, error) {
	status, body, err := s.get(s.client, app, "/who")
	if err != nil {
		return instance{}, err
	}
	return parseInstance(status, body)
}

func parseInstance(status int, body string) (instance, error) {
	f := strings.Fields(body)
	if status != http.StatusOK || len(f) != 4 {
		return instance{}, fmt.Errorf("answered %d %q", status, clip(body))
	}
	return instance{f[0], f[1], f[2], f[3]}, nil
}

func clip(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// useApp deploys our own small app under a name, once.
func (b *bench) useApp(name, descriptor string) (*server, *source, error) {
	s, err := b.useServer()
	if err != nil {
		return nil, nil, err
	}
	if src := s.apps[name]; src != nil {
		return s, src, nil
	}
	src, err := b.newSource(name, filepath.Join(b.repo, "test/bench/testdata/web"))
	if err != nil {
		return nil, nil, err
	}
	if err := src.write("project.toml", descriptor); err != nil {
		return nil, nil, err
	}
	if err := b.commit(src); err != nil {
		return nil, nil, err
	}
	b.say("first push of the app %s", name)
	if _, _, err := s.push(name, src); err != nil {
		return nil, nil, err
	}
	if _, err := s.who(name); err != nil {
		return nil, nil, fmt.Errorf("the app %s is live but: %w", name, err)
	}
	s.apps[name] = src
	return s, src, nil
}

// web is the app behind the measurements of the proxy: one instance, always.
func (b *bench) web() (*server, *source, error) {
	return b.useApp("web", "[io.gitd.web]\nmin-scale = 1\nmax-scale = 1\n")
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}
