package release

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/secret"
)

// checkConfiguration compares what project.toml declares of the configuration with what is set, before a build: it generates what is to be generated, and
// fails where a value is missing. It returns the values that builds may see.
func (d *deployment) checkConfiguration(ctx context.Context, p app.Push, settings *project.Descriptor) (secret.Values, error) {
	m, name := d.m, d.release.App
	current, err := m.o.Store.CurrentConfiguration(ctx, d.release.AppID)
	if err != nil {
		return nil, err
	}
	if current, err = d.inherit(ctx, current); err != nil {
		return nil, err
	}
	var missing, generate []project.Declared
	for _, one := range settings.Config {
		switch {
		case current.Variable(one.Name) != nil:
		case one.Required:
			missing = append(missing, one)
		case one.Generate > 0:
			generate = append(generate, one)
		}
	}
	if len(missing) > 0 {
		return nil, d.notSet(missing)
	}
	if len(generate) > 0 && p.Mode != app.ModeDryRun {
		if current, err = d.generate(ctx, generate); err != nil {
			return nil, err
		}
	}
	if current.Version == 0 {
		return nil, nil
	}
	values, err := m.o.Config.Open(name, current) // also where no build sees any: a release whose values cannot be read would not start
	if err != nil {
		return nil, err
	}
	seen := secret.Values{}
	for _, v := range current.Variables {
		if v.Build {
			seen[v.Name] = values[v.Name]
		}
	}
	return seen, nil
}

// notSet is the error for required variables without a value.
func (d *deployment) notSet(missing []project.Declared) error {
	set := "gitd config set " + d.release.App
	what, files := "", []string{}
	for _, one := range missing {
		set += " " + one.Name + "=…"
		d.log.Detail("%s is required%s", one.Name, described(one))
		what += ", " + one.Name
		if file := cmp.Or(one.From, project.File); !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	verb := "requires"
	if len(files) > 1 {
		verb = "require"
	}
	if d.preview.Parent != "" {
		set += ", or let previews have that of the app: gitd config set " + d.preview.Parent + " NAME --preview"
	}
	return app.Errorf(app.CodeInvalidInput, "set it, and push again: "+app.Clip(set, 500)+" (over SSH: ssh … config set)",
		"%s %s configuration that is not set: %s", strings.Join(files, " and "), verb, app.Clip(strings.TrimPrefix(what, ", "), 500))
}

func described(one project.Declared) string {
	if one.Description == "" {
		return ""
	}
	return ": " + one.Description
}

// generate gives variables random values, and returns the configuration with them. They stay, whatever becomes of the release.
func (d *deployment) generate(ctx context.Context, list []project.Declared) (app.Configuration, error) {
	m, name := d.m, d.release.App
	unlock, err := m.configuring.Acquire(ctx, name, func() {})
	if err != nil {
		return app.Configuration{}, cause(ctx)
	}
	defer unlock()
	current, err := m.o.Store.CurrentConfiguration(ctx, d.release.AppID)
	if err != nil {
		return current, err
	}
	values, err := m.o.Config.Open(name, current)
	if err != nil {
		return current, err
	}
	variables := slices.Clone(current.Variables)
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, one := range list {
		if current.Variable(one.Name) != nil { // it was set meanwhile
			continue
		}
		b := make([]byte, one.Generate)
		if _, err := rand.Read(b); err != nil {
			return current, err
		}
		values[one.Name] = []byte(hex.EncodeToString(b))
		variables = append(variables, app.Variable{Name: one.Name, Set: now, By: d.by.Name()})
		d.log.Detail("generated %s%s", one.Name, described(one))
	}
	if err := values.Check(); err != nil {
		return current, fmt.Errorf("generate: %w", err)
	}
	version, err := m.o.Config.Add(ctx, app.App{ID: d.release.AppID, Name: name}, d.by.Name(), variables, values, true)
	if err != nil {
		return current, err
	}
	return m.o.Store.Configuration(ctx, d.release.AppID, version)
}
