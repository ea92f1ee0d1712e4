package project

import (
	"errors"
	"maps"
	"path"
	"slices"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
)

// overlay takes over what the descriptor in the app's folder says: it counts more than the one at the root of the repository, but for what only that
// one can say, which is the folder and the files.
func (d *Descriptor) overlay(text string) error {
	file := path.Join(d.AppDir, File)
	err := d.overlayText(text, file)
	var e *app.Error
	if errors.As(err, &e) {
		named := *e
		named.Message = d.AppDir + "/" + e.Message
		return &named
	}
	return err
}

func (d *Descriptor) overlayText(text, file string) error {
	f, meta, err := decode(text)
	if err != nil {
		return err
	}
	g, b := &f.IO.Gitd, &f.IO.Buildpacks
	for key, said := range map[string]bool{
		"app-dir": g.Build.AppDir != "", "io.gitd.apps": len(g.Apps) > 0,
		"include": len(b.Include)+len(f.Build.Include) > 0, "exclude": len(b.Exclude)+len(f.Build.Exclude) > 0,
	} {
		if said {
			d.Remarks = append(d.Remarks, file+": "+key+" has no effect here: write it into project.toml at the root of the repository")
		}
	}
	slices.Sort(d.Remarks)
	inner := Descriptor{BuildEnv: map[string]string{}}
	g.Build.AppDir = ""
	if err := inner.build(&f, ""); err != nil {
		return err
	}
	if len(inner.Buildpacks) > 0 && len(d.Buildpacks) == 0 {
		d.Buildpacks = inner.Buildpacks
		maps.Copy(d.BuildEnv, inner.BuildEnv)
	}
	inner.remark(&f, meta)
	d.Remarks = append(d.Remarks, inner.Remarks...)
	root := d.BuildEnv[catalog.PackagesVariable]
	if err := d.set(&f); err != nil {
		return err
	}
	if err := d.function(g.Function, text); err != nil {
		return err
	}
	if err := d.schedules(g.Schedules, tableLines(text, "schedules")); err != nil {
		return err
	}
	if err := d.triggers(g.Triggers, tableLines(text, "triggers")); err != nil {
		return err
	}
	if err := d.webhooks(g.Webhooks, tableLines(text, "webhooks")); err != nil {
		return err
	}
	if now := d.BuildEnv[catalog.PackagesVariable]; root != "" && now != root {
		d.BuildEnv[catalog.PackagesVariable] = root + " " + now
	}
	return nil
}
