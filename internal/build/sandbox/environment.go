package sandbox

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

const (
	execEnv    = "production"                         // CNB_EXEC_ENV: what the image is for
	cacheMount = "/gitd-cache"                        // the app's cache in the container
	caBundle   = "/etc/ssl/certs/ca-certificates.crt" // the host's certificate authorities in the container
)

// proxies are the variables that lead out of a network. The lifecycle passes them on from its own environment.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}

// mirrors are the variables of the host that say where package clients find packages. This list is all that a build learns
// of the server's environment.
var mirrors = []string{
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GONOPROXY", "GOINSECURE",
	"npm_config_registry", "NPM_CONFIG_REGISTRY", "YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER",
	"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES",
	"UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT",
}

// authorities are the variables by which programs find certificate authorities; a buildpack sees none of its image's.
var authorities = []string{
	"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
	"CARGO_HTTP_CAINFO", "BUNDLE_SSL_CA_CERT",
}

// hostBundle returns the file that holds this host's certificate authorities; "" where there is none.
func hostBundle() string {
	candidates := []string{
		os.Getenv("SSL_CERT_FILE"),
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Alpine
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL
	}
	for _, c := range candidates {
		if c == "" {
			continue
		}
		if p, err := filepath.EvalSymlinks(c); err == nil {
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
				return p
			}
		}
	}
	return ""
}

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// platformEnv returns what goes into platform/env: request last, so that an app may override all but the cache's place.
func platformEnv(request map[string]string, bundle string, lookup func(string) (string, bool)) (map[string]string, error) {
	env := map[string]string{}
	for _, names := range [][]string{proxies, mirrors} {
		for _, n := range names {
			if v, ok := lookup(n); ok && v != "" {
				env[n] = v
			}
		}
	}
	if bundle != "" {
		for _, n := range authorities {
			env[n] = caBundle
		}
		env["UV_NATIVE_TLS"] = "true"
	}
	for n, v := range request {
		if !variableForm.MatchString(n) || strings.ContainsRune(v, 0) {
			return nil, app.Errorf(app.InvalidInput, "use letters, digits and _ in names of build variables, and no NUL in values", "invalid build variable %q", n)
		}
		env[n] = v
	}
	env["BP_CACHE_MOUNT"] = cacheMount
	return env, nil
}

// writePlatform writes the platform directory: one file a variable.
func writePlatform(dir string, env map[string]string) error {
	if err := os.MkdirAll(filepath.Join(dir, "env"), 0o755); err != nil {
		return err
	}
	for n, v := range env {
		if err := os.WriteFile(filepath.Join(dir, "env", n), []byte(v), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// containerEnv is the environment of the lifecycle in the container: the builder image's, and what the lifecycle itself reads.
func containerEnv(image []string, api string, platform map[string]string) []string {
	env := append([]string{}, image...)
	if !hasVariable(env, "PATH") {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	if !hasVariable(env, "HOME") {
		env = append(env, "HOME=/home/cnb")
	}
	for _, n := range proxies {
		if v := platform[n]; v != "" {
			env = append(env, n+"="+v)
		}
	}
	return append(env, "CNB_PLATFORM_API="+api, "CNB_EXEC_ENV="+execEnv, "CNB_REGISTRY_AUTH={}", "CNB_NO_COLOR=true")
}

func hasVariable(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}
