package main

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// page is what docs/install.md tells people to do. The machine is set up by it, so that page and test cannot say different things.
type page struct {
	packages []string          // for apt-get install
	units    map[string]string // name of a systemd unit → its text
}

var (
	aptLine  = regexp.MustCompile("(?m)^On Debian: `apt-get install ([^`]+)`")
	unitFile = regexp.MustCompile("(?ms)^```\n# (/etc/systemd/system/[a-z.@-]+)\n(.*?)^```$")
)

func readPage(text string) (page, error) {
	p := page{units: map[string]string{}}
	apt := aptLine.FindStringSubmatch(text)
	if apt == nil {
		return p, fmt.Errorf("docs/install.md has no line that begins with \"On Debian: `apt-get install\"")
	}
	p.packages = strings.Fields(apt[1])
	for _, m := range unitFile.FindAllStringSubmatch(text, -1) {
		p.units[path.Base(m[1])] = m[2]
	}
	if p.units["gitd.service"] == "" {
		return p, fmt.Errorf("docs/install.md has no block that begins with \"# /etc/systemd/system/gitd.service\"")
	}
	return p, nil
}
