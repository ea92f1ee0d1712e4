package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
)

// Names of buildpacks that take part without being asked for, where the builder has them: packages before the others, Procfile after them.
const (
	packagesName = "packages"
	procfileName = "procfile"
)

// Order returns the order of detection, as TOML, for the buildpacks that the app asks for, of those that the builder has; "" where it asks for
// none. An ID may be without what stands before its last slash, and one of another builder stands for the one here with the same name. It returns
// an *app.Error where the builder has no such buildpack, or none of that version.
func (s *Session) Order(have []build.Buildpack) (string, error) {
	if len(s.Request.Buildpacks) == 0 {
		return "", nil
	}
	var b strings.Builder
	b.WriteString("[[order]]\n")
	add := func(p build.Buildpack, optional bool) {
		fmt.Fprintf(&b, "[[order.group]]\nid = %q\nversion = %q\noptional = %v\n", p.ID, p.Version, optional)
	}
	var found []build.Buildpack
	for _, want := range s.Request.Buildpacks {
		p, err := s.find(want, have)
		if err != nil {
			return "", err
		}
		if !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	known := func(name string) (build.Buildpack, bool) {
		i := slices.IndexFunc(have, func(p build.Buildpack) bool { return shortName(p.ID) == name && strings.HasPrefix(p.ID, "gitd/") })
		if i < 0 || slices.Contains(found, have[i]) {
			return build.Buildpack{}, false
		}
		return have[i], true
	}
	if p, ok := known(packagesName); ok {
		add(p, true)
	}
	for _, p := range found {
		add(p, false)
	}
	if p, ok := known(procfileName); ok {
		add(p, true)
	}
	return b.String(), nil
}

// find returns the builder's buildpack that is asked for.
func (s *Session) find(want build.Buildpack, have []build.Buildpack) (build.Buildpack, error) {
	is := func(same func(id string) bool) (found []build.Buildpack) {
		for _, p := range have {
			if same(p.ID) {
				found = append(found, p)
			}
		}
		return found
	}
	found := is(func(id string) bool { return id == want.ID })
	if len(found) == 0 {
		found = is(func(id string) bool { return shortName(id) == shortName(want.ID) })
		if len(found) > 0 && strings.Contains(want.ID, "/") {
			s.Request.Log.Detail("project.toml asks for %s: %s is taken, this builder's", app.Plain(want.ID), found[0].ID)
			want.Version = "" // of another buildpack
		}
	}
	if len(found) == 0 {
		return want, app.Errorf(app.CodeInvalidInput, "name one of these in project.toml, commit and push again", "the builder has no buildpack %q; it has %s", app.Plain(want.ID), names(have))
	}
	for _, p := range found {
		if want.Version == "" || want.Version == p.Version {
			return p, nil
		}
	}
	return want, app.Errorf(app.CodeInvalidInput, "leave the version out of project.toml, commit and push again", "the builder has the buildpack %s in version %s, not %s", found[0].ID, found[0].Version, app.Plain(want.Version))
}

func shortName(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// names lists buildpacks for people: by their short names where they are all gitd's.
func names(have []build.Buildpack) string {
	var all []string
	for _, p := range have {
		all = append(all, strings.TrimPrefix(p.ID, "gitd/"))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}
