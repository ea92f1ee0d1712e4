package debs

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

var (
	unknownPackage = regexp.MustCompile(`E: (?:Unable to locate package|Package '|Version '[^']*' for '|Release '[^']*' for ')\s*([^\s']+)`)
	failedFetch    = regexp.MustCompile(`(?m)Failed to fetch (\S+) +(.*)$`)
	needs          = regexp.MustCompile(`(?m)^ (\S+) : ((?:Depends|PreDepends|Conflicts|Breaks): .*)$`)
)

// gone is an archive that the mirror no longer has: its lists are newer than ours.
type gone struct{ error }

// words makes an error for people of apt's.
func (a *apt) words(out string, err error) error {
	var k *kit.Error
	if !errors.As(err, &k) || strings.HasPrefix(k.Message, "the program ") {
		return err
	}
	if m := unknownPackage.FindStringSubmatch(out); m != nil {
		suite := a.r.Suite
		if suite == "" {
			suite = release(a.sources)
		}
		next := "look the name up at packages.debian.org"
		if near := a.near(m[1]); len(near) > 0 {
			next = "near it: " + strings.Join(near, ", ")
		}
		return kit.Errorf(next, "Debian %s has no package %s", suite, m[1])
	}
	if m := failedFetch.FindStringSubmatch(out); m != nil {
		reason := strings.TrimSpace(strings.TrimPrefix(m[2], " "))
		e := kit.Errorf("try again; the mirror is that of the machine that made the builder image, in its /etc/apt", "the Debian mirror does not give %s: %s", m[1], reason)
		if strings.HasPrefix(reason, "404") || strings.Contains(reason, "unexpected size") || strings.Contains(reason, "Hash Sum mismatch") {
			return gone{e}
		}
		return e
	}
	if m := needs.FindStringSubmatch(out); m != nil {
		return kit.Errorf("", "the packages do not fit together: %s %s", m[1], m[2])
	}
	for line := range strings.Lines(out) {
		if line, ok := strings.CutPrefix(strings.TrimSpace(line), "E: "); ok {
			return kit.Errorf("", "installing Debian packages failed: %s", line)
		}
	}
	return err
}

// near returns names that a mistaken one may mean: the same but for numbers and t64, or one or two letters away.
func (a *apt) near(name string) []string {
	out, err := a.run("apt-cache", "pkgnames")
	if err != nil {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	skeleton := skeletonOf(name)
	for _, n := range strings.Fields(out) {
		switch {
		case skeletonOf(n) == skeleton || n == "lib"+name || n == "lib"+name+"-dev" || n == name+"-dev":
			found = append(found, candidate{n, 0})
		case len(name) > 3:
			if d := distance(name, n, 2); d <= 2 {
				found = append(found, candidate{n, d})
			}
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, c := range found[:min(len(found), 5)] {
		names = append(names, c.name)
	}
	return names
}

var numbers = regexp.MustCompile(`t64$|[0-9]+(?:\.[0-9]+)*`)

func skeletonOf(name string) string {
	return numbers.ReplaceAllString(strings.TrimSuffix(name, "t64"), "")
}

// distance counts the letters to change, add or leave out between a and b; more than limit is not counted further.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
