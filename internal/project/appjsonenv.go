package project

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// secretBytes is how long a value of the generator "secret" is: 64 hexadecimal digits, as Dokku's.
const secretBytes = 32

// movedEnv declares the variables of app.json that project.toml does not: as there, a value is a default, and one that is required and has none must be set
// before anything is built.
func (d *Descriptor) movedEnv(raw json.RawMessage) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil && !emptyList(raw) {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		shown := app.Clip(app.Plain(name), 60)
		_, said := d.Web.Env[name]
		switch {
		case said || slices.ContainsFunc(d.Config, func(o Declared) bool { return o.Name == name }):
		case !envName(name) || name == "PORT" || strings.HasPrefix(name, "K_"):
			d.notUsed("env.%s: it cannot be the name of a variable, or the platform sets it", shown)
		case len(d.Config) >= maxDeclared:
			d.notUsed("env: at most %d variables can be declared", maxDeclared)
			return nil
		default:
			d.movedVariable(name, all[name])
		}
	}
	return nil
}

// movedVariable declares one variable: "value", or an object that describes it.
func (d *Descriptor) movedVariable(name string, raw json.RawMessage) {
	var v struct {
		Value       *scalar `json:"value"`
		Required    *scalar `json:"required"`
		Generator   string  `json:"generator"`
		Description string  `json:"description"`
		Sync        bool    `json:"sync"`
	}
	var text scalar
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		v.Value = &text
	} else if err := json.Unmarshal(raw, &v); err != nil {
		d.notUsed("env.%s: it is not as Heroku and Dokku have it: %s", name, where(raw, err))
		return
	}
	one := Declared{Name: name, Description: app.Line(v.Description, maxDescription), From: AppJSON}
	switch {
	case v.Generator == "secret":
		one.Generate = secretBytes
	case v.Value != nil:
		one.Default, one.HasDefault = string(*v.Value), true
	default:
		one.Required = v.Required == nil || *v.Required != "false"
	}
	if v.Generator != "" && v.Generator != "secret" {
		d.notUsed("env.%s: the generator %s is not known", name, app.Clip(app.Plain(v.Generator), 30))
	}
	if v.Sync {
		d.notUsed("env.%s.sync: a value that was set by config set stays", name)
	}
	d.Config = append(d.Config, one)
}

// scalar is a text, for which people also write a number, true or false; and the other way round.
type scalar string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scalar) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9' || string(b) == "true" || string(b) == "false") {
		*s = scalar(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

// emptyList reports whether JSON is a list with nothing in it, which some tools write for an object with nothing in it.
func emptyList(raw json.RawMessage) bool {
	var list []json.RawMessage
	return json.Unmarshal(raw, &list) == nil && len(list) == 0
}
