package python

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// clause is one condition of a version specifier.
type clause struct {
	op     string
	v      []int
	prefix bool // the version ends in ".*"
}

// parseSpecifier reads a version specifier of PEP 440, such as ">=3.9,<4", as far as requires-python uses it: releases only.
func parseSpecifier(s string) (func(version string) bool, error) {
	var clauses []clause
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		c, err := parseClause(part)
		if err != nil {
			return nil, err
		}
		clauses = append(clauses, c)
	}
	return func(version string) bool {
		have, err := numbers(version)
		return err == nil && !slices.ContainsFunc(clauses, func(c clause) bool { return !c.allows(have) })
	}, nil
}

func parseClause(part string) (clause, error) {
	c := clause{op: "=="}
	for _, op := range []string{"===", "==", ">=", "<=", "!=", "~=", ">", "<", "^"} {
		if rest, ok := strings.CutPrefix(part, op); ok {
			c.op, part = op, strings.TrimSpace(rest)
			break
		}
	}
	if rest, ok := strings.CutSuffix(part, ".*"); ok {
		c.prefix, part = true, rest
	}
	var err error
	c.v, err = numbers(part)
	return c, err
}

// allows reports whether a version meets the condition.
func (c clause) allows(have []int) bool {
	cmp := kit.CompareVersions(have, c.v)
	// People who write "==3.11" mean any 3.11, unlike the standard.
	same := cmp == 0 || (c.prefix || len(c.v) < 3) && startsWith(have, c.v)
	switch c.op {
	case "==", "===":
		return same
	case "!=":
		return !same
	case ">=":
		return cmp >= 0
	case "<=":
		return cmp <= 0 || c.prefix && same
	case ">":
		return cmp > 0
	case "<":
		return cmp < 0
	case "~=":
		return cmp >= 0 && startsWith(have, c.v[:max(1, len(c.v)-1)])
	case "^":
		return cmp >= 0 && have[0] == c.v[0]
	}
	return false
}

func numbers(s string) ([]int, error) {
	var v []int
	for p := range strings.SplitSeq(s, ".") {
		// Pre-releases count as their release: "3.14.0rc1".
		digits := strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' })
		if digits > 0 {
			p = p[:digits]
		}
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a version", s)
		}
		v = append(v, n)
	}
	return v, nil
}

func startsWith(v, prefix []int) bool {
	if len(v) < len(prefix) {
		return false
	}
	return kit.CompareVersions(v[:len(prefix)], prefix) == 0
}

// older tells whether a version is below another one.
func older(version string, than ...int) bool {
	have, err := numbers(version)
	return err == nil && kit.CompareVersions(have, than) < 0
}
