package project

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// Bounds on what project.toml declares of the configuration.
const (
	maxDeclared    = 200
	maxDescription = 200
	leastGenerated = 8 // bytes
	mostGenerated  = 64
)

// Declared is what project.toml says of a variable of the app's configuration.
type Declared struct {
	Name        string
	Required    bool   // without a value nothing is built
	Default     string // where HasDefault is set: the value where none is set
	HasDefault  bool
	Generate    int // random bytes, in hexadecimal, that become its value once, where none is set; 0 for none
	Description string
	From        string // the file that declares it, where that is not project.toml
}

// configTable is an entry of [io.gitd.config].
type configTable struct {
	Required    bool    `toml:"required"`
	Default     *string `toml:"default"`
	Generate    *string `toml:"generate"`
	Description string  `toml:"description"`
}

// config takes over what the descriptor says of the configuration.
func (d *Descriptor) config(tables map[string]configTable) error {
	if len(tables) > maxDeclared {
		return bad("io.gitd.config: %d variables, at most %d can be declared", len(tables), maxDeclared)
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		t := tables[name]
		key := "io.gitd.config." + app.Clip(app.Plain(name), 60)
		one := Declared{Name: name, Required: t.Required, Description: app.Line(t.Description, maxDescription)}
		ways := 0
		for _, said := range []bool{t.Required, t.Default != nil, t.Generate != nil} {
			if said {
				ways++
			}
		}
		_, also := d.Web.Env[name]
		switch {
		case !envName(name):
			return bad("%s: it cannot be the name of a variable", key)
		case name == "PORT" || strings.HasPrefix(name, "K_"):
			return bad("%s: it is set by the platform", key)
		case also:
			return bad("%s: it is under [io.gitd.web.env] as well; keep one of them", key)
		case ways > 1:
			return bad("%s: required, default and generate exclude one another", key)
		}
		if t.Default != nil {
			one.Default, one.HasDefault = *t.Default, true
		}
		if t.Generate != nil {
			n, err := strconv.Atoi(strings.TrimPrefix(*t.Generate, "hex"))
			if err != nil || !strings.HasPrefix(*t.Generate, "hex") || n < leastGenerated || n > mostGenerated {
				return bad("%s.generate: %q is not possible; give \"hex32\" for 32 random bytes as 64 hexadecimal digits (from hex%d to hex%d)", key, app.Clip(app.Plain(*t.Generate), 30), leastGenerated, mostGenerated)
			}
			one.Generate = n
		}
		d.Config = slices.DeleteFunc(d.Config, func(o Declared) bool { return o.Name == name }) // of the root, where this is a folder's
		d.Config = append(d.Config, one)
	}
	return nil
}

// SetDefaults adds the defaults of variables to the environment of the app, which the configuration has precedence over.
func (d *Descriptor) SetDefaults() {
	for _, one := range d.Config {
		if one.HasDefault {
			d.Web.Env[one.Name] = one.Default
		}
	}
}
