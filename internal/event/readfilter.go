package event

import (
	"fmt"
	"maps"
	"slices"
)

// ReadFilters reads filters as TOML and JSON parsers return them: a table with one dialect, or a list of such, all of which an event must pass. Knative's older
// form, { attributes = { type = "…" } }, is taken as well; an attribute whose text is "" passes with any text there. It does not check what Compile checks.
func ReadFilters(v any) ([]Filter, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		if len(v) == 1 && v["attributes"] != nil {
			return legacy(v["attributes"])
		}
		f, err := readFilter(v, "filter")
		return []Filter{f}, err
	default:
		return readList(v, "filter")
	}
}

func readList(v any, path string) ([]Filter, error) {
	var list []any
	switch v := v.(type) {
	case []any:
		list = v
	case []map[string]any: // tables of TOML
		for _, t := range v {
			list = append(list, t)
		}
	default:
		return nil, fmt.Errorf("%s: it is a table, such as { exact = { type = \"order.created\" } }, or a list of them", path)
	}
	filters := make([]Filter, len(list))
	for i, one := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		table, ok := one.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: it is a table, such as { exact = { type = \"order.created\" } }", at)
		}
		var err error
		if filters[i], err = readFilter(table, at); err != nil {
			return nil, err
		}
	}
	return filters, nil
}

func readFilter(table map[string]any, path string) (f Filter, err error) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		v, at := table[name], path+"."+name
		switch name {
		case "exact":
			f.Exact, err = readTexts(v, at)
		case "prefix":
			f.Prefix, err = readTexts(v, at)
		case "suffix":
			f.Suffix, err = readTexts(v, at)
		case "all":
			f.All, err = readList(v, at)
		case "any":
			f.Any, err = readList(v, at)
		case "not":
			inner, ok := v.(map[string]any)
			if !ok {
				return f, fmt.Errorf("%s: it is a filter", at)
			}
			f.Not = &Filter{}
			*f.Not, err = readFilter(inner, at)
		case "cesql", "sql":
			text, ok := v.(string)
			if !ok || text == "" {
				return f, fmt.Errorf("%s: it is an expression, such as \"type = 'order.created'\"", at)
			}
			f.CESQL = text
		default:
			err = fmt.Errorf("%s: there is no such dialect: there are exact, prefix, suffix, all, any, not and cesql", at)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

func readTexts(v any, path string) (map[string]string, error) {
	table, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: it names an attribute and its text, such as { type = \"order.created\" }", path)
	}
	texts := map[string]string{}
	for name, v := range table {
		if texts[name], ok = v.(string); !ok {
			return nil, fmt.Errorf("%s.%s: it is a text", path, name)
		}
	}
	return texts, nil
}

// legacy is the form of Knative's spec.filter.
func legacy(v any) ([]Filter, error) {
	texts, err := readTexts(v, "filter.attributes")
	if err != nil {
		return nil, err
	}
	var filters []Filter
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if texts[name] == "" {
			filters = append(filters, Filter{CESQL: "EXISTS " + name})
			continue
		}
		filters = append(filters, Filter{Exact: map[string]string{name: texts[name]}})
	}
	return filters, nil
}
