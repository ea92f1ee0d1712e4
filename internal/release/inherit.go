package release

import (
	"bytes"
	"context"
	"maps"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/secret"
)

// inherit gives a preview the variables of its app that are marked for previews, in place of those that it had from there, and returns its configuration.
// Variables of its own count before them. Nothing else of the app's configuration reaches a preview.
func (d *deployment) inherit(ctx context.Context, current app.Configuration) (app.Configuration, error) {
	if d.preview.Parent == "" {
		return current, nil
	}
	m := d.m
	unlock, err := m.configuring.Acquire(ctx, d.release.App, func() {})
	if err != nil {
		return current, cause(ctx)
	}
	defer unlock()
	parent, err := m.o.Store.App(ctx, d.preview.Parent)
	if err != nil {
		return current, err
	}
	of, err := m.o.Store.CurrentConfiguration(ctx, parent.ID)
	if err != nil {
		return current, err
	}
	if current, err = m.o.Store.CurrentConfiguration(ctx, d.release.AppID); err != nil {
		return current, err
	}
	old, err := m.o.Config.Open(d.release.App, current)
	if err != nil {
		return current, err
	}
	var variables []app.Variable
	values := secret.Values{}
	for _, v := range current.Variables {
		if v.From == "" {
			variables = append(variables, v)
			values[v.Name] = old[v.Name]
		}
	}
	marked := false
	for _, v := range of.Variables {
		marked = marked || v.Preview
	}
	if marked {
		theirs, err := m.o.Config.Open(parent.Name, of)
		if err != nil {
			return current, err
		}
		for _, v := range of.Variables {
			if _, own := values[v.Name]; v.Preview && !own {
				v.From, v.Preview = parent.Name, false
				variables = append(variables, v)
				values[v.Name] = theirs[v.Name]
			}
		}
	}
	if maps.EqualFunc(values, old, bytes.Equal) {
		return current, nil
	}
	version, err := m.o.Config.Add(ctx, app.App{ID: d.release.AppID, Name: d.release.App}, d.by.Name(), variables, values, true)
	if err != nil {
		return current, err
	}
	return m.o.Store.Configuration(ctx, d.release.AppID, version)
}
