package node

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// cannotHave tells why a version of a program could not be fetched: the registry does not have it, and has others, or cannot be asked.
func (b *build) cannotHave(pkg, program, want, from string) error {
	out, err := kit.Cmd{Args: []string{"npm", "view", "--json", pkg, "versions"}, Env: b.env, Out: io.Discard}.Output()
	var versions []string
	if err != nil || json.Unmarshal(out, &versions) != nil || len(versions) == 0 {
		return kit.Errorf("push again; where it fails again, see that the server reaches its package registry", "%s %s (%s) could not be fetched: the package registry does not answer", program, want, from)
	}
	return kit.Errorf("ask for one of them", "%s %s (%s) could not be fetched; of the package registry's versions the newest of each line are %s", program, want, from, strings.Join(newestOfLines(versions, 8), ", "))
}

// newestOfLines are the newest versions of the newest major versions, newest first.
func newestOfLines(versions []string, most int) (lines []string) {
	newest := map[uint64]*semver.Version{}
	for _, text := range versions {
		v, err := semver.StrictNewVersion(text)
		if err != nil || v.Prerelease() != "" {
			continue
		}
		if old := newest[v.Major()]; old == nil || v.GreaterThan(old) {
			newest[v.Major()] = v
		}
	}
	var all []*semver.Version
	for _, v := range newest {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b *semver.Version) int { return b.Compare(a) })
	for _, v := range all[:min(most, len(all))] {
		lines = append(lines, v.String())
	}
	return lines
}
