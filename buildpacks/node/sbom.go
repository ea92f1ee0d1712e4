package node

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"encoding/json"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

var (
	yarnEntry = pattern.New(`(?m)^"?(@?[^@\s"]+)@[^\n]*:\n\s+version:? "?([^"\s]+)"?`)
	pnpmEntry = pattern.New(`(?m)^  '?/?(@?[^@\s'(]+)@([0-9][^:'(\s]*)(?:\([^\n]*\))?'?:`)
)

// packages reads the bill of materials from the lock file.
func (b *build) packages() []kit.Package {
	if b.tool.lock == "" {
		return nil
	}
	return lockPackages(b.tool.kind, kit.Text(b.root, b.tool.lock))
}

func lockPackages(kind, lock string) []kit.Package {
	var all []kit.Package
	add := func(name, version string) {
		all = append(all, kit.Package{Name: name, Version: version, PURL: "pkg:npm/" + strings.Replace(name, "@", "%40", 1)})
	}
	switch kind {
	case "npm":
		var l struct {
			Packages map[string]struct {
				Version string `json:"version"`
				Name    string `json:"name"`
				Dev     bool   `json:"dev"`
				Link    bool   `json:"link"`
			} `json:"packages"`
		}
		_ = json.Unmarshal([]byte(lock), &l) // npm ci has accepted it
		for path, p := range l.Packages {
			i := strings.LastIndex(path, "node_modules/")
			if i < 0 || p.Dev || p.Link {
				continue
			}
			name := path[i+len("node_modules/"):]
			if p.Name != "" {
				name = p.Name // an alias
			}
			add(name, p.Version)
		}
	case "pnpm":
		_, section, _ := strings.Cut(lock, "\npackages:")
		section, _, _ = strings.Cut(section, "\nsnapshots:")
		for _, m := range pnpmEntry.FindAllStringSubmatch(section, -1) {
			add(m[1], m[2])
		}
	default:
		for _, m := range yarnEntry.FindAllStringSubmatch(lock, -1) {
			if m[1] != "__metadata" {
				add(m[1], m[2])
			}
		}
	}
	return all
}
