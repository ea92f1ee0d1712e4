package lifecycle

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/pattern"
)

// ExecEnv is CNB_EXEC_ENV: what images are for.
const ExecEnv = "production"

// mirrors are the variables of the host that say where package clients find packages. This list is all that a build learns
// of the server's environment.
var mirrors = []string{
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GONOPROXY", "GOINSECURE",
	"npm_config_registry", "NPM_CONFIG_REGISTRY", "YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER",
	"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES",
	"MAVEN_MIRROR_URL",
	"UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT",
	"UV_PYTHON_INSTALL_MIRROR",
	"RUSTUP_DIST_SERVER",
	"HEX_MIRROR", "HEX_BUILDS_URL",
	"DOTNET_MIRROR", "NUGET_MIRROR", "RUBY_MIRROR",
	"BUNDLE_MIRROR__ALL", "BUNDLE_MIRROR__ALL__FALLBACK_TIMEOUT",
}

// authorities are the variables by which programs find certificate authorities; a buildpack sees none of its image's.
var authorities = []string{
	"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
	"CARGO_HTTP_CAINFO", "BUNDLE_SSL_CA_CERT",
}

// HostBundle returns the file that holds this host's certificate authorities; "" if there is none.
func HostBundle() string {
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

var variableForm = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Places are where a build finds what the platform brings; "" for what it does not bring.
type Places struct {
	Bundle string // file of certificate authorities
	Cache  string // directory of the app's cache
	Shared string // directory of what is prepared for the builds of all apps, read-only
}

// PlatformEnv returns what goes into platform/env: request last, so that an app may override all but these places. lookup finds
// the variables of this process.
func PlatformEnv(request map[string]string, at Places, lookup func(string) (string, bool)) (map[string]string, error) {
	env := map[string]string{}
	for _, names := range [][]string{phase.Proxies, mirrors} {
		for _, n := range names {
			if v, ok := lookup(n); ok && v != "" {
				env[n] = v
			}
		}
	}
	if at.Bundle != "" {
		for _, n := range authorities {
			env[n] = at.Bundle
		}
		env["UV_NATIVE_TLS"] = "true"
	}
	for n, v := range request {
		if !variableForm.MatchString(n) || strings.ContainsRune(v, 0) {
			return nil, app.Errorf(app.CodeInvalidInput, "use letters, digits and _ in names of build variables, and no NUL in values", "invalid build variable %q", n)
		}
		env[n] = v
	}
	if at.Cache != "" {
		env["BP_CACHE_MOUNT"] = at.Cache
	}
	if at.Shared != "" {
		env["BP_SHARED_MOUNT"] = at.Shared
	}
	return env, nil
}
