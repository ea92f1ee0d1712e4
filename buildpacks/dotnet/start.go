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

// paths makes the places at which a Procfile looks for the programs: those that the SDK publishes to by itself, and the projects' folders.
func (b *build) paths(procs []procfile.Process) error {
	for _, proc := range procs {
		words := strings.FieldsFunc(proc.Command, func(r rune) bool { return strings.ContainsRune(" \t;&|()\"'", r) })
		for i, w := range words {
			w = path.Clean(w)
			if w == "." || !strings.Contains(w, "/") && (i == 0 || words[i-1] != "cd") || !filepath.IsLocal(w) || kit.Exists(b.app, w) {
				continue
			}
			for _, o := range b.outputs {
				if at := o.place(w); at != "" {
					if err := link(o.dir, filepath.Join(b.app, at)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// place is the folder at which a path of a Procfile looks for the program; "" where it is of another one.
func (o output) place(w string) string {
	base := path.Base(w)
	if base == o.name+".dll" || base == o.name && o.start != nil && kit.IsFile(o.dir, o.name) {
		return path.Dir(w)
	}
	if o.project == nil {
		return ""
	}
	if dir := path.Dir(o.project.path); w == dir || strings.HasSuffix(w, "/publish") && (dir == "." || strings.HasPrefix(w, dir+"/")) {
		return w
	}
	return ""
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
