package elixir

import (
	"errors"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	unreachable = pattern.New(`(?:"|url: ?)?https?://([A-Za-z0-9.-]+)[^\n]*\n?[^\n]*(?:nxdomain|timeout|econnrefused|failed_connect|enetunreach|ehostunreach)`)
	failedHost  = pattern.New(`(?:failed_connect|nxdomain)[^\n]*?(?:'|"|\{to_address,\s*\{["'])([a-z0-9-]+(?:\.[a-z0-9-]+)+)`)
	hexFailed   = pattern.New(`Failed to fetch record for (\S+) from registry|Package fetch failed|Request failed \(`)
	noNetwork   = pattern.New(`nxdomain|timeout|econnrefused|failed_connect|enetunreach|ehostunreach`)
	wrongElixir = pattern.New(`has declared in its mix\.exs file it supports only Elixir ([^\n]+)`)
	noPackage   = pattern.New(`No package with name (\S+)`)
	staleLock   = pattern.New(`the dependency is out of date|lock mismatch|lock outdated`)
	noVariable  = pattern.New(`environment variable (\w+) is missing|could not fetch environment variable "(\w+)"`)
	errorHead   = pattern.New(`(?m)^\s*(?:\*\* \((?:Mix|[A-Za-z.]*Error)\) |error: |== Compilation error in file )([^\n]+)`)
	errorPlace  = pattern.New(`(?m)^\s*(?:└─ )?((?:lib|config|apps|web|src)/[^\s:]+:\d+)`)
	gitFailed   = pattern.New(`fatal: (?:unable to access|repository|could not read)[^\n]*?'?((?:https?://|git@)[^\s']+)`)
)

// reason puts the cause of a failure, which is some lines above mix's last one, into the error.
func reason(said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) || e.Lack != "" {
		return err
	}
	fail := func(next, format string, args ...any) error { return kit.Errorf(next, e.Message+": "+format, args...) }
	switch {
	case wrongElixir.MatchString(said):
		return fail("require another version in mix.exs", "it supports only Elixir %s", strings.TrimSuffix(strings.TrimSpace(wrongElixir.FindStringSubmatch(said)[1]), "."))
	case gitFailed.MatchString(said):
		return fail("the build has no key for private repositories", "a package's repository cannot be fetched: %s", gitFailed.FindStringSubmatch(said)[1])
	case noNetwork.MatchString(said):
		return fail("try again later, or set HEX_MIRROR and HEX_BUILDS_URL for the server to a mirror", "%s cannot be reached", host(said))
	case noPackage.MatchString(said):
		return fail("check its name", "Hex has no package %s", noPackage.FindStringSubmatch(said)[1])
	case staleLock.MatchString(said):
		return fail("run mix deps.get, commit mix.lock and push again", "mix.lock does not fit mix.exs")
	case noVariable.MatchString(said):
		m := noVariable.FindStringSubmatch(said)
		return fail("read it in config/runtime.exs, or give the build a value", "the configuration wants the variable %s, which the build does not have", m[1]+m[2])
	}
	if m := errorHead.FindStringSubmatch(said); m != nil {
		place := ""
		if p := errorPlace.FindStringSubmatch(said); p != nil {
			place = p[1] + ": "
		}
		return fail(e.Next, "%s%s", place, strings.TrimSpace(m[1]))
	}
	return err
}

// host is the name of the server that did not answer.
func host(said string) string {
	for _, p := range []*pattern.Pattern{unreachable, failedHost} {
		if m := p.FindStringSubmatch(said); m != nil {
			return strings.TrimRight(m[1], ".")
		}
	}
	if hexFailed.MatchString(said) {
		return "the Hex registry"
	}
	return "the server of the packages"
}
