package repository

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/gitconfig"
)

const (
	modulesFile  = ".gitmodules"
	maxModuleURL = 64 << 10 // bytes of all that .gitmodules says
)

// urls reads the .gitmodules of a repository: the URL of each path.
func (m *modules) urls(ctx context.Context, l level, entries []entry) (urls map[string]string, err error) {
	i := slices.IndexFunc(entries, func(e entry) bool { return e.path == l.prefix+modulesFile && e.regular() })
	if i < 0 {
		return nil, nil
	}
	var text []byte
	err = l.cat.use(ctx, func() error {
		_, text, err = l.cat.object(entries[i].id, maxModuleURL)
		var large *tooLargeError
		if errors.As(err, &large) {
			return app.Errorf(app.CodeLimitExceeded, "make it smaller", "%s is larger than %s", quote(l.prefix+modulesFile), app.Size(maxModuleURL))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	urls, line := parseModules(text)
	if line > 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "correct it, commit, and push again", "%s cannot be read: bad line %d", quote(l.prefix+modulesFile), line)
	}
	return urls, nil
}

// parseModules reads .gitmodules as git does: the URL of each path, "" if there is none. badLine is the line that cannot be read; 0 where all can.
// go-git's config.Modules is not used: it reads continued lines, a byte order mark and text after a header in other ways than git, or not at all.
func parseModules(text []byte) (urls map[string]string, badLine int) {
	type module struct{ path, url string }
	all := map[string]module{} // by the submodule's name
	badLine = gitconfig.Parse(text, func(v gitconfig.Variable) {
		if v.Section != "submodule" || v.Subsection == gitconfig.NoSubsection {
			return
		}
		m := all[v.Subsection]
		switch v.Key {
		case "path":
			m.path = v.Value
		case "url":
			m.url = v.Value
		}
		all[v.Subsection] = m
	})
	urls = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if m := all[name]; m.path != "" {
			urls[strings.TrimSuffix(m.path, "/")] = m.url
		}
	}
	return urls, badLine
}
