package java

import (
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	play       = pattern.New(`(?i)\bPlay(?:Scala|Java|Service)\b|org\.playframework|com\.typesafe\.play`)
	playSecret = pattern.New(`(?m)^\s*[\w.]*secret(?:\.key)?\s*[=:]\s*(?:"([^"\n]*)"|\$\{\??(\w+)\})`)
	playHosts  = pattern.New(`(?m)^[^#\n]*filters\s*[.{][^#]*?(?:hosts|disabled|AllowedHosts)`)
)

// playOptions are for Play, which takes all from properties. Its new apps have no secret, without which they do not start in production, and answer
// requests for localhost alone.
func (b *build) playOptions() string {
	options := `-Dhttp.port="${PORT:-8080}" -Dpidfile.path=/dev/null `
	conf := kit.Text(b.app, "conf/application.conf")
	if !playHosts.MatchString(conf) {
		options += `-Dplay.filters.hosts.allowed.0=. `
	}
	variable := "APPLICATION_SECRET"
	for _, m := range playSecret.FindAllStringSubmatch(conf, -1) {
		if m[1] != "" && !strings.Contains(m[1], "changeme") {
			return options
		}
		if m[2] != "" {
			variable = m[2]
		}
	}
	kit.Say(b.Out, "Warning: there is no play.http.secret.key: each instance has one of its own, and sessions end with it; set %s", variable)
	return options + `-Dplay.http.secret.key="${` + variable + `:-$(od -An -v -N48 -tx1 /dev/urandom | tr -d ' \n')}" `
}
