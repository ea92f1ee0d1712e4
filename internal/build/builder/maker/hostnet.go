package maker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

// pipVariables say where pip fetches packages from.
var pipVariables = []string{"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_PROXY"}

// passed returns those of the variables that this process has.
func passed(names ...string) (env []string) {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			env = append(env, n+"="+v)
		}
	}
	return env
}

// hostNetwork returns what makes this machine's network usable in a confined root: files below /run, and variables. A network that inspects
// TLS has an authority of its own, which only the host's bundle knows.
func hostNetwork() (files map[string]string, env []string) {
	files = map[string]string{}
	env = passed(slices.Concat(phase.Proxies, pipVariables)...)
	if bundle := certificates(); bundle != "" {
		files["gitd/ca.crt"] = bundle
		for _, n := range []string{"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
			env = append(env, n+"=/run/gitd/ca.crt")
		}
	}
	home, _ := os.UserHomeDir()
	for _, f := range []string{os.Getenv("PIP_CONFIG_FILE"), filepath.Join(home, ".config/pip/pip.conf"), filepath.Join(home, ".pip/pip.conf"), "/etc/pip.conf"} {
		if f == "" {
			continue
		}
		if b, err := os.ReadFile(f); err == nil {
			files["gitd/pip.conf"] = string(b)
			env = append(env, "PIP_CONFIG_FILE=/run/gitd/pip.conf")
			break
		}
	}
	return files, env
}

// certificates returns the bundle of certificate authorities that this machine trusts.
func certificates() string {
	for _, f := range []string{os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if f == "" {
			continue
		}
		if b, err := os.ReadFile(f); err == nil {
			return string(b)
		}
	}
	return ""
}

// hostFiles are the host's files that name lookups need.
func hostFiles() (binds []bind) {
	for _, f := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if _, err := os.Stat(f); err == nil {
			binds = append(binds, bind{f, f})
		}
	}
	return binds
}

// aptProxies returns the lines of this machine's apt configuration that say by which proxy packages come.
func aptProxies(ctx context.Context) (conf []string) {
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil // no Debian: mmdebstrap brings its own apt's defaults
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ";")
		if (strings.HasPrefix(line, "Acquire::http::Proxy") || strings.HasPrefix(line, "Acquire::https::Proxy")) && !strings.HasSuffix(line, `""`) {
			conf = append(conf, line)
		}
	}
	return conf
}

// findProgram looks where root's programs are, whatever PATH says.
func findProgram(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, d := range filepath.SplitList(standardPath) {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p, nil
		}
	}
	return "", exec.ErrNotFound
}
