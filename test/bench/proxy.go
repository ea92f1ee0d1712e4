package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// way is one way to the app: a proxy, and where wrk runs.
type way struct {
	name             string
	pid              int  // of the proxy
	workers          bool // it has worker processes that count
	prefix           []string
	url              string
	host             string
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
			kinds = append(kinds, "Caddy")
		}
	}
	return b.measureProxy(kinds)
}

func (b *bench) proxyCaddy() error { return b.measureProxy([]string{"Caddy"}) }

var proxyTargets = map[string]float64{"nginx": 0.45, "Caddy": 1.8}

// measureProxy drives the one instance of the app web through gitd and through its peers. The peers, and wrk when it speaks
// to them, run in the instance's own network namespace: all proxies have the very same process behind them, with its
// seccomp filter and its limits.
func (b *bench) measureProxy(kinds []string) error {
	s, _, err := b.web()
	if err != nil {
		return err
	}
	i, err := s.who("web")
	if err != nil {
		return err
	}
	pid, err := processIn(i.namespace)
	if err != nil {
		return err
	}
	enter := []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid)}
	ways := []*way{{name: "gitd", pid: s.process.pid(), url: "http://" + s.HTTP + "/", host: "web.localhost"}}
	for _, k := range kinds {
		w, stop, err := b.serveProxy(k, enter, i.port)
		if err != nil {
			return err
		}
		defer stop()
		ways = append(ways, w)
	}

	length := time.Duration(b.rounds(4, 2)) * time.Second
	rounds := b.rounds(5, 3)
	for _, w := range ways {
		if err := b.wrk(w, time.Second); err != nil {
			return err
		}
		w.rates, w.p99, w.cpu, w.requests, w.failed = nil, nil, nil, 0, 0
	}
	for n := range rounds {
		line := fmt.Sprintf("  round %d of %d:", n+1, rounds)
		for _, w := range ways {
			if err := b.wrk(w, length); err != nil {
				return err
			}
			line += fmt.Sprintf(" %s %.0f/s", w.name, w.rates[n])
		}
		b.say("%s", line)
	}
	after, err := s.who("web")
	if err != nil {
		return err
	}
	if after != i {
		return fmt.Errorf("the instance behind the proxies changed under way: %v, then %v", i, after)
	}
	b.report.title("Proxy: small responses, wrk -t2 -c64, the same instance behind all")
	gitd := ways[0]
	for _, w := range ways[1:] {
		b.report.rate("requests through gitd against "+w.name, gitd.rates, w.rates, proxyTargets[w.name])
		b.report.text("  processor time a request, against "+w.name, micro(gitd.cpu), micro(w.cpu))
		b.report.text("  99th percentile, against "+w.name, span(gitd.p99), span(w.p99))
		if w.failed > 0 {
			b.report.text("  failed requests of "+w.name, "", fmt.Sprint(w.failed))
		}
	}
	b.report.count("failed requests through gitd", gitd.failed, gitd.requests)
	return nil
}

func micro(s samples) string {
	return fmt.Sprintf("%.0f µs (best %.0f µs)", s.median()*1e6, s.min()*1e6)
}

// serveProxy starts a peer in the namespace, tuned like gitd's proxy: connections to the app are kept and reused, no access log.
func (b *bench) serveProxy(kind string, enter []string, backend string) (*way, func(), error) {
	dir := filepath.Join(b.dir, kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	const address = "127.0.0.1:18080" // in the instance's namespace, where only the instance is
	if kind == "Caddy" {
		return b.serveCaddy(dir, enter, "127.0.0.1:18081", backend)
	}
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
  upstream app { server 127.0.0.1:%[2]s; keepalive 256; keepalive_requests 100000000; }
  server {
    listen %[3]s;
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
`, dir, backend, address)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, nil, err
	}
	program, err := lookPath("nginx")
	if err != nil {
		return nil, nil, err
	}
	return b.startProxy(kind, enter, address, nil, program, "-p", dir, "-c", file, "-e", dir+"/error.log")
}

func (b *bench) serveCaddy(dir string, enter []string, address, backend string) (*way, func(), error) {
	config := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n}\nhttp://%s {\n\treverse_proxy 127.0.0.1:%s {\n\t\ttransport http {\n"+
		"\t\t\tkeepalive_idle_conns 1024\n\t\t\tkeepalive_idle_conns_per_host 1024\n\t\t\tcompression off\n\t\t}\n\t}\n}\n", address, backend)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, nil, err
	}
	program, err := lookPath("caddy")
	if err != nil {
		return nil, nil, err
	}
	return b.startProxy("Caddy", enter, address, []string{"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, program, "run", "--config", file, "--adapter", "caddyfile")
}

func (b *bench) startProxy(kind string, enter []string, address string, env []string, program ...string) (*way, func(), error) {
	p, err := start(kind, env, nil, append(append([]string{}, enter...), program...)...)
	if err != nil {
		return nil, nil, err
	}
	stop := func() { p.stop(5 * time.Second) }
	w := &way{name: kind, pid: p.pid(), workers: true, prefix: enter, url: "http://" + address + "/", host: address}
	err = p.wait(b.ctx, 20*time.Second, func() error { // wrk itself is the one that can look into the namespace
		_, err := b.command("", nil, append(append([]string{}, enter...), "wrk", "-t1", "-c1", "-d1s", w.url)...)
		if err == nil {
			return nil
		}
		return err
	})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return w, stop, nil
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkTotal  = regexp.MustCompile(`(\d+) requests in`)
	wrkP99    = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
	wrkStatus = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSocket = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// wrk sends requests one way for a while.
func (b *bench) wrk(w *way, length time.Duration) error {
	args := append(append([]string{}, w.prefix...), "wrk", "-t2", "-c64", "--latency", "-d"+length.String(), "-H", "Host: "+w.host, w.url)
	before := cpuTime(w.pid, w.workers)
	out, err := b.command("", nil, args...)
	if err != nil {
		return err
	}
	used := cpuTime(w.pid, w.workers) - before
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
