package python

import (
	"fmt"
	"strconv"
	"strings"
)

// parseSpecifier reads a version specifier of PEP 440, such as ">=3.9,<4", as far as requires-python uses it: releases only.
func parseSpecifier(s string) (func(version string) bool, error) {
	type clause struct {
		op     string
		v      []int
		prefix bool
	}
	var clauses []clause
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		var c clause
		for _, op := range []string{"===", "==", ">=", "<=", "!=", "~=", ">", "<", "^"} {
			if rest, ok := strings.CutPrefix(part, op); ok {
				c.op, part = op, strings.TrimSpace(rest)
				break
			}
		}
		if c.op == "" {
			c.op = "=="
		}
		if rest, ok := strings.CutSuffix(part, ".*"); ok {
			c.prefix, part = true, rest
		}
		v, err := numbers(part)
		if err != nil {
			return nil, err
		}
		c.v = v
		clauses = append(clauses, c)
	}
	return func(version string) bool {
		have, err := numbers(version)
		if err != nil {
			return false
		}
		for _, c := range clauses {
			cmp := compare(have, c.v)
			// "==3.11" from people means any 3.11, whatever the standard says.
			same := cmp == 0 || (c.prefix || len(c.v) < 3) && startsWith(have, c.v)
			var ok bool
			switch c.op {
			case "==", "===":
				ok = same
			case "!=":
				ok = !same
			case ">=":
				ok = cmp >= 0
			case "<=":
				ok = cmp <= 0 || c.prefix && same
			case ">":
				ok = cmp > 0
			case "<":
				ok = cmp < 0
			case "~=":
				ok = cmp >= 0 && startsWith(have, c.v[:max(1, len(c.v)-1)])
			case "^":
				ok = cmp >= 0 && have[0] == c.v[0]
			}
			if !ok {
				return false
			}
		}
		return true
	}, nil
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

func compare(a, b []int) int {
	for i := range max(len(a), len(b)) {
		x, y := 0, 0
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

func startsWith(v, prefix []int) bool {
	if len(v) < len(prefix) {
		return false
	}
	return compare(v[:len(prefix)], prefix) == 0
}
