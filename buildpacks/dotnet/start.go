package dotnet

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// processes are the programs: the app, and where a setting names several, each of these. A Procfile's own lines win.
func (b *build) processes() (list []libcnb.Process) {
	for i, o := range b.outputs {
		if o.start == nil || i > 0 && b.env[settingProject] == "" {
			continue
		}
		p := libcnb.Process{Type: "web", Command: o.start[0], Arguments: o.start[1:], Direct: true}
		switch {
		case i > 0:
			p.Type, p.WorkingDirectory = strings.ToLower(typeForm.ReplaceAllString(o.name, "-")), o.dir
		case o.project != nil && o.project.kind() == worker:
			p.Type = "worker"
		default:
			p.Default = true
		}
		if i == 0 && p.Type == "web" && procfile.HasWeb(b.app) {
			continue
		}
		list = append(list, p)
	}
	return list
}

// paths makes the places at which a Procfile looks for the programs: those that the SDK publishes to by itself.
func (b *build) paths(procs []procfile.Process) error {
	for _, proc := range procs {
		for _, w := range strings.FieldsFunc(proc.Command, func(r rune) bool { return strings.ContainsRune(" \t;&|()\"'", r) }) {
			w = path.Clean(w)
			if !strings.Contains(w, "/") || !filepath.IsLocal(w) || kit.Exists(b.app, w) {
				continue
			}
			for _, o := range b.outputs {
				base := path.Base(w)
				if base == o.name+".dll" || base == o.name {
					if err := link(o.dir, filepath.Join(b.app, path.Dir(w))); err != nil {
						return err
					}
				} else if strings.HasSuffix(w, "/publish") && o.project != nil && strings.HasPrefix(w, strings.TrimPrefix(path.Dir(o.project.path)+"/", "./")) {
					if err := link(o.dir, filepath.Join(b.app, w)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// link makes a folder lead to another one, where nothing is in its place.
func link(to, at string) error {
	if kit.Exists(at) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	rel, err := filepath.Rel(filepath.Dir(at), to)
	if err != nil {
		return err
	}
	return os.Symlink(rel, at)
}
