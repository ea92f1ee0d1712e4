package event

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// Bounds of the filters of one trigger.
const (
	maxFilters = 100 // in all, with those within others
	maxDepth   = 10
	maxText    = 4 << 10 // bytes of an expression
)

// Filter is one of Knative's filter dialects: exactly one of the fields is set. Its JSON is that of a Trigger's spec.filters.
type Filter struct {
	Exact  map[string]string `json:"exact,omitempty"`  // each attribute is that text
	Prefix map[string]string `json:"prefix,omitempty"` // each begins with it
	Suffix map[string]string `json:"suffix,omitempty"` // each ends with it
	All    []Filter          `json:"all,omitempty"`
	Any    []Filter          `json:"any,omitempty"`
	Not    *Filter           `json:"not,omitempty"`
	CESQL  string            `json:"cesql,omitempty"`
}

// Matcher says whether an event passes.
type Matcher func(e *Event) bool

// check is a part of a Matcher.
type check func(e *evaluation) bool

// Compile checks the filters of a trigger and returns what decides by all of them. Without any, every event passes; none passes that takes them
// too much work (maxWork).
func Compile(filters []Filter) (Matcher, error) {
	left := maxFilters
	all, err := compileAll(filters, "filter", maxDepth, &left)
	if err != nil {
		return nil, err
	}
	return func(event *Event) bool {
		e := evaluate(event)
		return all(e) && e.left >= 0 // within "not" as well, what takes too much work does not pass
	}, nil
}

func compileAll(filters []Filter, path string, depth int, left *int) (check, error) {
	all, err := compileEach(filters, path, depth, left)
	if err != nil {
		return nil, err
	}
	return func(e *evaluation) bool {
		return !slices.ContainsFunc(all, func(m check) bool { return !m(e) })
	}, nil
}

func compileEach(filters []Filter, path string, depth int, left *int) ([]check, error) {
	list := make([]check, len(filters))
	for i := range filters {
		at := path
		if len(filters) > 1 {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		var err error
		if list[i], err = filters[i].compile(at, depth, left); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// compile is Compile for one filter at path.
func (f *Filter) compile(path string, depth int, left *int) (check, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("there are more than %d filters", maxFilters)
	}
	if depth == 0 {
		return nil, fmt.Errorf("%s: it is more than %d deep", path, maxDepth)
	}
	said := f.dialects()
	if len(said) != 1 {
		if len(said) == 0 {
			return nil, fmt.Errorf("%s: it is empty: it has one of exact, prefix, suffix, all, any, not and cesql", path)
		}
		return nil, fmt.Errorf("%s: it has %s: a filter has one of them; write a list of filters, all of which an event must pass", path, strings.Join(said, " and "))
	}
	path += "." + said[0]
	switch said[0] {
	case "exact":
		return compileText(f.Exact, path, func(v, want string) bool { return v == want })
	case "prefix":
		return compileText(f.Prefix, path, strings.HasPrefix)
	case "suffix":
		return compileText(f.Suffix, path, strings.HasSuffix)
	case "all":
		return compileAll(f.All, path, depth-1, left)
	case "any":
		list, err := compileEach(f.Any, path, depth-1, left)
		return func(e *evaluation) bool {
			return slices.ContainsFunc(list, func(m check) bool { return m(e) })
		}, err
	case "not":
		m, err := f.Not.compile(path, depth-1, left)
		return func(e *evaluation) bool { return !m(e) }, err
	}
	m, err := compileCESQL(f.CESQL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// dialects are the fields that are set.
func (f *Filter) dialects() (said []string) {
	for _, d := range []struct {
		name string
		set  bool
	}{{"exact", f.Exact != nil}, {"prefix", f.Prefix != nil}, {"suffix", f.Suffix != nil}, {"all", f.All != nil}, {"any", f.Any != nil}, {"not", f.Not != nil}, {"cesql", f.CESQL != ""}} {
		if d.set {
			said = append(said, d.name)
		}
	}
	return said
}

// compileText compares attributes, all of which an event must have.
func compileText(want map[string]string, path string, passes func(v, want string) bool) (check, error) {
	if len(want) == 0 || len(want) > maxAttributes {
		return nil, fmt.Errorf("%s: it names an attribute and its text, such as { type = \"order.created\" }", path)
	}
	type pair struct{ name, want string }
	var pairs []pair
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if want[name] == "" || len(want[name]) > maxText {
			return nil, fmt.Errorf("%s: the text for %s is empty, or longer than %s", path, name, app.Size(maxText))
		}
		pairs = append(pairs, pair{name, want[name]})
	}
	return func(e *evaluation) bool {
		for _, p := range pairs {
			if v, ok := e.Attribute(p.name); !ok || !passes(v, p.want) {
				return false
			}
		}
		return true
	}, nil
}
