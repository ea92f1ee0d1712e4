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
	for _, m := range b.folders() {
		for _, c := range buildCaches {
			link := filepath.Join(b.root, m.dir, c.dir)
			if !m.pkg.has(c.pkg) || kit.Exists(link) {
				continue
			}
			if err := b.keepCache(filepath.Join(m.dir, c.dir), link); err != nil {
				return nil, err
			}
			links = append(links, link)
		}
	}
	return done, nil
}

// keepCache makes a folder of the app a link to one in the app's cache.
func (b *build) keepCache(name, link string) error {
	kept, err := b.cache.Dir("node-build")
	if err != nil {
		return err
	}
	kept = filepath.Join(kept, folderName(strings.ReplaceAll(name, "/", "-")))
	if err := mkdir(kept); err != nil {
		return err
	}
	if err := mkdir(filepath.Dir(link)); err != nil {
		return err
	}
	return os.Symlink(kept, link)
}
