package ruby

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// requirement is a condition on versions as RubyGems has them: "~> 3.2", ">= 3.1", "3.3.5".
type requirement struct {
	op      string // = != > < >= <= ~>
	version []int
}

// parseRequirement reads one. What is neither number nor operator makes an error.
func parseRequirement(text string) (requirement, error) {
	r := requirement{op: "="}
	rest := strings.TrimSpace(text)
	for _, op := range []string{"~>", ">=", "<=", "!=", "==", "=", ">", "<"} {
		if after, ok := strings.CutPrefix(rest, op); ok {
			r.op, rest = strings.Replace(op, "==", "=", 1), strings.TrimSpace(after)
			break
		}
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "ruby-"), "v")
	if i := strings.IndexAny(rest, "-p"); i > 0 { // 3.3.5-p100, 3.3.5p100: one patch level for each version since Ruby 2.1
		rest = rest[:i]
	}
	parts := strings.Split(rest, ".")
	if len(parts) > 4 {
		return r, fmt.Errorf("%q is not a version", text)
	}
	for _, p := range parts {
		n, err := strconv.Atoi(p)
		if p == "x" && len(r.version) > 0 {
			break
		}
		if err != nil || n < 0 || len(p) > 5 {
			return r, fmt.Errorf("%q is not a version", text)
		}
		r.version = append(r.version, n)
	}
	return r, nil
}

// allows tells whether a version meets the requirement to the letter, as Bundler asks it.
func (r requirement) allows(v []int) bool {
	c := kit.CompareVersions(v, r.version)
	switch r.op {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case ">":
		return c > 0
	case "<":
		return c < 0
	case ">=":
		return c >= 0
	case "<=":
		return c <= 0
	}
	upper := append([]int{}, r.version[:max(1, len(r.version)-1)]...)
	upper[len(upper)-1]++
	return c >= 0 && kit.CompareVersions(v, upper) < 0
}

// fits tells whether a line of versions, such as 3.3, meets the requirement. The patch does not count: what a distribution calls 3.3.8 has the fixes
// of later ones, and code written for 3.3.5 runs on it.
func (r requirement) fits(line []int) bool {
	want := r.version[:min(2, len(r.version))]
	switch r.op {
	case "=":
		return kit.CompareVersions(line[:len(want)], want) == 0
	case "!=":
		return len(r.version) > 2 || kit.CompareVersions(line, want) != 0
	case ">":
		return kit.CompareVersions(line, want) > 0 || len(r.version) > 2 && kit.CompareVersions(line, want) == 0
	case "<":
		return kit.CompareVersions(line, want) < 0 || len(r.version) > 2 && r.version[2] > 0 && kit.CompareVersions(line, want) == 0
	case ">=":
		return kit.CompareVersions(line, want) >= 0
	case "<=":
		return kit.CompareVersions(line, want) <= 0
	}
	if len(r.version) > 2 {
		return kit.CompareVersions(line, want) == 0
	}
	return kit.CompareVersions(line, want) >= 0 && line[0] == want[0]
}

// numbers reads "3.3.8" of a program or a package; what follows the numbers is passed over.
func numbers(version string) (v []int) {
	for _, p := range strings.Split(version, ".") {
		end := strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			p = p[:end]
		}
		n, err := strconv.Atoi(p)
		if err != nil {
			return v
		}
		v = append(v, n)
		if end >= 0 {
			return v
		}
	}
	return v
}
