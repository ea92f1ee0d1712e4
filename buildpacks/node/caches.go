package node

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// buildCaches are the folders in which build tools keep what makes their next build faster.
var buildCaches = []struct{ pkg, dir string }{
	{"next", ".next/cache"}, {"@angular/cli", ".angular/cache"}, {"turbo", ".turbo/cache"}, {"nx", ".nx/cache"}, {"gatsby", ".cache"}, {"parcel", ".parcel-cache"},
}

// keepCaches puts the build tools' caches of the last build in place, as links into the app's cache. The function that it returns takes the links
// away: they are no part of the app.
func (b *build) keepCaches() (done func() error, err error) {
	var links []string
	done = func() error {
		for _, l := range links {
			if err := os.RemoveAll(l); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range buildCaches {
		link := filepath.Join(b.app, c.dir)
		if !b.pkg.has(c.pkg) || kit.Exists(link) {
			continue
		}
		kept, err := b.cache.Dir("node-build")
		if err != nil {
			return nil, err
		}
		kept = filepath.Join(kept, strings.ReplaceAll(c.dir, "/", "-"))
		if err := mkdir(kept); err != nil {
			return nil, err
		}
		if err := mkdir(filepath.Dir(link)); err != nil {
			return nil, err
		}
		if err := os.Symlink(kept, link); err != nil {
			return nil, err
		}
		links = append(links, link)
	}
	return done, nil
}
