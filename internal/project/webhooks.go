package project

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/webhook"
)

// webhookTable is one of [[io.gitd.webhooks]].
type webhookTable struct {
	Name   string `toml:"name"`
	Kind   string `toml:"kind"`
	Secret any    `toml:"secret"` // a variable of the configuration, or a list of them
	Broker string `toml:"broker"`
	Path   string `toml:"path"` // of the app, which gets the event there
}

// webhooks sets what the descriptor says of webhooks. lines are where each of them begins. It comes after the schedules, the triggers and the configuration.
func (d *Descriptor) webhooks(tables []webhookTable, lines []int) error {
	if len(tables) > webhook.Most {
		return bad("io.gitd.webhooks: there are %d, and at most %d can be", len(tables), webhook.Most)
	}
	for i, table := range tables {
		w, err := table.webhook()
		switch {
		case err != nil:
		case slices.ContainsFunc(d.Webhooks, func(o webhook.Webhook) bool { return o.Name == w.Name }):
			err = fmt.Errorf("there is another of that name")
		case w.Path != "" && d.triggerNamed(w.Name):
			err = fmt.Errorf("a trigger, or a schedule with a path, has that name: give each a name of its own")
		default:
			err = d.keptSecret(&w)
		}
		if err != nil {
			return bad("%sio.gitd.webhooks %q: %v", at(lines, i), app.Clip(table.Name, 60), err)
		}
		d.Webhooks = append(d.Webhooks, w)
	}
	return nil
}

// triggerNamed says whether events reach the app by a trigger of that name.
func (d *Descriptor) triggerNamed(name string) bool {
	return slices.ContainsFunc(d.Triggers, func(t event.Trigger) bool { return t.Name == name }) ||
		slices.ContainsFunc(d.Schedules, func(s schedule.Schedule) bool { return s.Path != "" && s.Name == name })
}

func (table webhookTable) webhook() (webhook.Webhook, error) {
	w := webhook.Webhook{Name: table.Name, Kind: webhook.Kind(table.Kind), Broker: cmp.Or(table.Broker, event.DefaultBroker), Path: table.Path}
	switch s := table.Secret.(type) {
	case string:
		w.Secrets = []string{s}
	case []any:
		for _, v := range s {
			name, ok := v.(string)
			if !ok {
				return w, fmt.Errorf("secret: %v is not the name of a variable", v)
			}
			w.Secrets = append(w.Secrets, name)
		}
	}
	for _, name := range w.Secrets {
		if !envName(name) {
			return w, fmt.Errorf("secret: %q cannot be the name of a variable: give the one of the app's configuration that has the secret, not the secret", app.Clip(app.Plain(name), 8))
		}
	}
	return w, w.Check()
}

// keptSecret fails for a secret that the repository has.
func (d *Descriptor) keptSecret(w *webhook.Webhook) error {
	for _, name := range w.Secrets {
		_, inFile := d.Web.Env[name]
		if inFile || slices.ContainsFunc(d.Config, func(o Declared) bool { return o.Name == name && o.HasDefault }) {
			return fmt.Errorf("%s has its value in %s, where everyone who reads the repository sees it: remove it there, and set it: gitd config set APP %[1]s=…", name, File)
		}
	}
	return nil
}

// ConfigWithSecrets is Config, with the secrets of webhooks as variables that are required.
func (d *Descriptor) ConfigWithSecrets() []Declared {
	all := slices.Clone(d.Config)
	for _, w := range d.Webhooks {
		for _, name := range w.Secrets {
			i := slices.IndexFunc(all, func(o Declared) bool { return o.Name == name })
			switch {
			case i < 0:
				all = append(all, Declared{Name: name, Required: true, Description: "the secret of the webhook " + w.Name})
			case all[i].Generate == 0:
				all[i].Required = true
			}
		}
	}
	return all
}
