package php

import (
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// wanted is the PHP that the app asks for.
type wanted struct {
	text   string // as written; "" for any
	from   string
	limits *semver.Constraints
	packed []*semver.Constraints // of the packages in the lock file
	prefer string                // config.platform.php
}

// release is a line of PHP's versions that a release of Debian has.
type release struct{ line, suite string }

// available are the versions that Debian has, by the release that the image is made of. The first is the image's own.
var available = map[string][]release{
	"trixie":   {{"8.4", "trixie"}, {"8.2", "bookworm"}},
	"bookworm": {{"8.2", "bookworm"}},
}

// wantedVersion reads the version from composer.json, or where tools write it. A value that is not a constraint is a *kit.Error.
func wantedVersion(app string, c *composer) (wanted, error) {
	w := wanted{text: c.Require["php"], from: "composer.json"}
	if w.text == "" {
		w.text = c.Require["php-64bit"]
	}
	w.prefer, _ = c.Config.Platform["php"].(string)
	for _, f := range []struct {
		name  string
		texts []string
	}{
		{".php-version", kit.VersionLines(app, ".php-version")}, {".tool-versions", kit.AsdfVersions(app, ".tool-versions", "php")},
		{"mise.toml", kit.MiseVersions(app, "mise.toml", "php")}, {".mise.toml", kit.MiseVersions(app, ".mise.toml", "php")},
	} {
		if w.text == "" && len(f.texts) > 0 {
			w.text, w.from = f.texts[0], f.name
		}
	}
	var err error
	if w.limits, err = constraint(w.text); err != nil {
		return w, kit.Errorf("write a constraint such as ^8.2", "%s asks for PHP %q, which is not a version", w.from, w.text)
	}
	for _, p := range c.locked {
		if text := p.require["php"]; text != "" {
			if l, err := constraint(text); err == nil {
				w.packed = append(w.packed, l)
			}
		}
	}
	return w, nil
}

var (
	or        = regexp.MustCompile(`\s*\|{1,2}\s*`)
	stability = regexp.MustCompile(`(?i)@(?:dev|alpha|beta|rc|stable)|-(?:dev|stable|alpha|beta|rc)\d*`)
	spaced    = regexp.MustCompile(`([<>=!~^])\s+`)
	tildeTwo  = regexp.MustCompile(`~\s*v?(\d+\.\d+)($|[^.\d])`)
	exact     = regexp.MustCompile(`(^|[|,\s])={0,2}v?(\d+\.\d+)\.\d+($|[|,\s])`)
)

// constraint reads Composer's grammar: ^ ~ || | - * and comparisons. The patch of an exact version does not count.
func constraint(text string) (*semver.Constraints, error) {
	text = strings.TrimSpace(strings.ToLower(text))
	switch text {
	case "", "latest", "system", "*", "stable":
		return semver.NewConstraint("*")
	}
	text = stability.ReplaceAllString(strings.TrimPrefix(text, "php-"), "")
	text = spaced.ReplaceAllString(text, "$1")
	text = exact.ReplaceAllString(text, "$1$2$3")
	text = tildeTwo.ReplaceAllString(text, "^$1$2") // what Composer means by ~8.1
	return semver.NewConstraint(or.ReplaceAllString(text, " || "))
}

func (w wanted) describe() string {
	if w.text == "" {
		return "any php"
	}
	return "php " + w.text
}

// fits tells whether some patch of the line is allowed: what a distribution has includes the fixes of later ones.
func fits(c *semver.Constraints, line string) bool {
	for _, patch := range []string{".0", ".99"} {
		if v, err := semver.NewVersion(line + patch); err == nil && c.Check(v) {
			return true
		}
	}
	return false
}

// choose takes the first release that fits; one that the locked packages allow, or that config.platform names, before others.
func (w wanted) choose(of []release) (release, error) {
	var fitting, better []release
	var names []string
	for _, r := range of {
		names = append(names, r.line)
		if !fits(w.limits, r.line) {
			continue
		}
		fitting = append(fitting, r)
		all := true
		for _, c := range w.packed {
			all = all && fits(c, r.line)
		}
		if all {
			better = append(better, r)
		}
	}
	if len(better) > 0 {
		fitting = better
	}
	for _, r := range fitting {
		if strings.HasPrefix(w.prefer+".", r.line+".") {
			return r, nil
		}
	}
	if len(fitting) > 0 {
		return fitting[0], nil
	}
	return release{}, kit.Errorf("ask for one of these", "%s asks for PHP %s; Debian, which PHP comes from, has %s", w.from, w.text, strings.Join(names, " and "))
}
