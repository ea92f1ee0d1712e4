package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// way is one way to the app: a proxy, and where wrk runs.
type way struct {
	name             string
	used             func() float64 // seconds of processor time, of all that carries the requests
	url              string
	host             string
	before           []string // a command that runs wrk
	rates            samples
	p99              samples
	cpu              samples // seconds of processor time a request
	requests, failed int
}

// proxyNginx measures nginx, and Caddy in the same rounds when that section is chosen.
func (b *bench) proxyNginx() error {
	kinds := []string{"nginx"}
	if b.chosen("proxy-caddy") {
		b.done["proxy-caddy"] = true
		if err := missing([]string{"caddy"}); err != nil {
			b.report.failed("proxy-caddy", err)
		} else {
			kinds = append(kinds, "Caddy", tunedCaddy)
		}
	}
	return b.measureProxy(kinds)
}

func (b *bench) proxyCaddy() error { return b.measureProxy([]string{"Caddy", tunedCaddy}) }

// tunedCaddy keeps as many connections to the app as gitd does, where Caddy by itself keeps 32.
const tunedCaddy = "Caddy, tuned"

var proxyTargets = map[string]float64{"nginx": 0.75, "Caddy": 2.5}

// What a request and the slowest of a hundred may cost, against nginx.
const (
	costTarget = 1.4
	slowTarget = 1
)

// Connections of wrk: few that are always busy, and many.
const (
	fewConnections  = 64
	manyConnections = 2000
)

// measureProxy drives the one instance of the app web through gitd, and a container of the same spec, on the host's network,
// through its peers: behind all proxies is the same program with the same layers, limits and seccomp filter.
func (b *bench) measureProxy(kinds []string) error {
	s, _, err := b.web()
	if err != nil {
		return err
	}
	i, backend, end, err := b.behindProxies(s)
	if err != nil {
		return err
	}
	defer end()
	ways := []*way{{name: "gitd", used: s.carried, url: "http://" + s.HTTP + "/", host: "web.localhost"}}
	for _, k := range kinds {
		w, stop, err := b.serveProxy(k, backend)
		if err != nil {
			return err
		}
		defer stop()
		ways = append(ways, w)
	}

	for _, connections := range []int{fewConnections, manyConnections} {
		if err := b.load(ways, connections); err != nil {
			return err
		}
		b.reportProxy(ways, connections)
	}
	after, err := s.who("web")
	if err != nil {
		return err
	}
	if after != i {
		return fmt.Errorf("the instance behind the proxies changed under way: %v, then %v", i, after)
	}
	return nil
}

// behindProxies runs a container of the spec of the one instance i of the app web, on the host's network, for the peers to be in front of. end removes it.
func (b *bench) behindProxies(s *server) (i instance, address string, end func(), err error) {
	if i, err = s.who("web"); err != nil {
		return i, "", nil, err
	}
	bare, err := b.newBareRunc(i, true)
	if err != nil {
		return i, "", nil, err
	}
	_, remove, err := bare.run()
	if err != nil {
		bare.close()
		return i, "", nil, err
	}
	return i, "127.0.0.1:" + bare.port, func() { remove(); bare.close() }, nil
}

// load loads the ways in turn.
func (b *bench) load(ways []*way, connections int) error {
	length := time.Duration(b.rounds(4, 2)) * time.Second
	rounds := b.rounds(5, 3)
	for _, w := range ways {
		if err := b.wrk(w, connections, time.Second); err != nil {
			return err
		}
		w.rates, w.p99, w.cpu, w.requests, w.failed = nil, nil, nil, 0, 0
	}
	for n := range rounds {
		line := fmt.Sprintf("  %d connections, round %d of %d:", connections, n+1, rounds)
		for _, w := range ways {
			if err := b.wrk(w, connections, length); err != nil {
				return err
			}
			line += fmt.Sprintf(" %s %.0f/s", w.name, w.rates[n])
		}
		b.say("%s", line)
	}
	return nil
}

func (b *bench) reportProxy(ways []*way, connections int) {
	b.report.title(fmt.Sprintf("Proxy: small responses, wrk -t2 -c%d, a container of the same spec behind each", connections))
	gitd := ways[0]
	for _, w := range ways[1:] {
		few, cost, slow := proxyTargets[w.name], 0.0, 0.0
		if connections == manyConnections {
			few = 0
		}
		if w.name == "nginx" {
			slow = slowTarget
			if connections == fewConnections {
				cost = costTarget
			}
		}
		b.report.rate("requests through gitd against "+w.name, gitd.rates, w.rates, few)
		b.report.cost("  processor time a request, against "+w.name, gitd.cpu, w.cpu, cost)
		b.report.ratio("  99th percentile, against "+w.name, gitd.p99, w.p99, slow)
		if w.failed > 0 {
			b.report.text("  failed requests of "+w.name, "", fmt.Sprint(w.failed))
		}
	}
	b.report.count("failed requests through gitd", gitd.failed, gitd.requests)
}

func micro(s samples) string {
	return fmt.Sprintf("%.0f µs (best %.0f µs)", s.median()*1e6, s.min()*1e6)
}

// serveProxy starts a peer. nginx keeps and reuses connections to the app, as gitd does, which it must be told.
func (b *bench) serveProxy(kind, backend string) (*way, func(), error) {
	dir := filepath.Join(b.dir, kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	if kind != "nginx" {
		return b.serveCaddy(kind, dir, address, backend)
	}
	return b.serveNginx(kind, dir, address, backend, "listen "+address+";")
}

// serveNginx starts nginx in front of backend; listen are its directives for where and how it listens.
func (b *bench) serveNginx(kind, dir, address, backend, listen string) (*way, func(), error) {
	config := fmt.Sprintf(`daemon off;
worker_processes 2;
pid %[1]s/pid;
error_log %[1]s/error.log;
user root;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  keepalive_requests 100000000;
  upstream app { server %[2]s; keepalive 256; keepalive_requests 100000000; }
  server {
    %[3]s
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
    }
  }
}
`, dir, backend, listen)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, nil, err
	}
	return b.startProxy(kind, address, nil, "nginx", "-p", dir, "-c", file, "-e", dir+"/error.log")
}

func (b *bench) serveCaddy(kind, dir, address, backend string) (*way, func(), error) {
	transport := ""
	if kind == tunedCaddy {
		transport = " {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns 1024\n\t\t\tkeepalive_idle_conns_per_host 1024\n\t\t\tcompression off\n\t\t}\n\t}"
	}
	return b.serveCaddyfile(kind, dir, address, fmt.Sprintf("http://%s {\n\treverse_proxy %s%s\n}\n", address, backend, transport))
}

// serveCaddyfile starts Caddy with a site.
func (b *bench) serveCaddyfile(kind, dir, address, site string) (*way, func(), error) {
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\tadmin off\n\tauto_https off\n}\n"+site), 0o644); err != nil {
		return nil, nil, err
	}
	return b.startProxy(kind, address, []string{"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, "caddy", "run", "--config", file, "--adapter", "caddyfile")
}

func (b *bench) startProxy(kind, address string, env []string, program ...string) (*way, func(), error) {
	p, err := start(kind, env, nil, program...)
	if err != nil {
		return nil, nil, err
	}
	stop := func() { p.stop(5 * time.Second) }
	if err := p.wait(b.ctx, 20*time.Second, listening(address)); err != nil {
		stop()
		return nil, nil, err
	}
	return &way{name: kind, used: func() float64 { return cpuTime(p.pid(), true) }, url: "http://" + address + "/", host: address}, stop, nil
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkTotal  = regexp.MustCompile(`(\d+) requests in`)
	wrkP99    = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
	wrkStatus = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSocket = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// wrk sends requests one way for a while.
func (b *bench) wrk(w *way, connections int, length time.Duration) error {
	args := []string{"wrk", "-t2", "-c" + strconv.Itoa(connections), "--latency", "-d" + length.String(), "-H", "Host: " + w.host, w.url}
	args = append(slices.Clone(w.before), args...)
	before := w.used()
	out, err := b.command("", nil, args...)
	if err != nil {
		return err
	}
	used := w.used() - before
	m := wrkRate.FindStringSubmatch(out)
	n := wrkTotal.FindStringSubmatch(out)
	if m == nil || n == nil {
		return fmt.Errorf("wrk says: %s", lastLines(out, 10))
	}
	rate, _ := strconv.ParseFloat(m[1], 64)
	total, _ := strconv.Atoi(n[1])
	failed := 0
	for _, expression := range []*regexp.Regexp{wrkStatus, wrkSocket} {
		if m := expression.FindStringSubmatch(out); m != nil {
			for _, count := range m[1:] {
				k, _ := strconv.Atoi(count)
				failed += k
			}
		}
	}
	if total == 0 || failed == total {
		return fmt.Errorf("every request through %s failed: %s", w.name, lastLines(out, 10))
	}
	if m := wrkP99.FindStringSubmatch(out); m != nil {
		v, _ := strconv.ParseFloat(m[1], 64)
		w.p99 = append(w.p99, v*map[string]float64{"us": 1e-6, "ms": 1e-3, "s": 1}[m[2]])
	}
	w.rates = append(w.rates, rate)
	w.cpu = append(w.cpu, used/float64(total))
	w.requests += total
	w.failed += failed
	return nil
}

// trimmed is a file's content without white space around it, or "".
func trimmed(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}
