package operation

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/secret"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// MaxConfigInput is how much of a file or of standard input a change of configuration reads, in bytes.
const MaxConfigInput = 1 << 20

// ConfigVariable is a variable of an app's configuration.
type ConfigVariable struct {
	app.Variable
	State string  `json:"state"`           // "live", "staged" (for the next release), "removed" (with the next release), "file" (of the app's own files; config get alone)
	Value *string `json:"value,omitempty"` // where values were asked for
}

// AppConfig is an app's configuration: what its next release gets, and what of it is live.
type AppConfig struct {
	App       string           `json:"app"`
	Version   int              `json:"configuration"` // the current one; 0 for none
	Release   int              `json:"release"`       // that is live; 0 for none
	Variables []ConfigVariable `json:"variables"`
	Lost      bool             `json:"lost,omitempty"`  // the key of its values is not there
	Files     []FileVariable   `json:"files,omitempty"` // what the live release has of the app's own files, project.toml or app.json, and the configuration leaves as it is

	files map[string]string // values of Files
}

// FileVariable is a variable that the app's own files set.
type FileVariable struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"` // where values were asked for
}

// Config returns an app's configuration without values.
var Config = Operation[OfApp, AppConfig]{
	Declaration{Name: "config", Args: "APP", Does: "Show the configuration of an app: names, digests, who set each, when", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfApp) (AppConfig, error) {
		shown, _, err := c.config(ctx)
		return shown, err
	},
}

// ConfigValues returns an app's configuration with its values. It takes the right to change them.
var ConfigValues = Operation[OfApp, AppConfig]{
	Declaration{Name: "config", Args: "APP --show", Does: "Show the configuration of an app with its values", Verb: app.VerbChange, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfApp) (AppConfig, error) {
		shown, current, err := c.config(ctx)
		if err != nil {
			return shown, err
		}
		for i, f := range shown.Files {
			value := shown.files[f.Name]
			shown.Files[i].Value = &value
		}
		values, err := c.Config.Open(c.app, current)
		for i := range shown.Variables {
			if v, ok := values[shown.Variables[i].Name]; ok {
				text := string(v)
				shown.Variables[i].Value = &text
			}
		}
		return shown, err
	},
}

// OneVariable names a variable of an app's configuration.
type OneVariable struct {
	OfApp
	Name string
}

// GetConfig returns one variable of an app's configuration, with its value.
var GetConfig = Operation[OneVariable, ConfigVariable]{
	Declaration{Name: "config get", Args: "APP NAME", Does: "Print the value of one variable of an app's configuration", Verb: app.VerbChange, Needs: NeedsStore},
	func(ctx context.Context, c call, in OneVariable) (ConfigVariable, error) {
		shown, current, err := c.config(ctx)
		if err != nil {
			return ConfigVariable{}, err
		}
		if value, ok := shown.files[in.Name]; ok {
			return ConfigVariable{Variable: app.Variable{Name: in.Name}, State: ofFiles, Value: &value}, nil
		}
		i := slices.IndexFunc(shown.Variables, func(v ConfigVariable) bool { return v.Name == in.Name && v.State != removed })
		if i < 0 {
			return ConfigVariable{}, app.Errorf(app.CodeNotFound, "see what is set: gitd config "+c.app, "%s has no variable %s", c.app, app.Plain(app.Clip(in.Name, 100)))
		}
		values, err := c.Config.Open(c.app, current)
		value := string(values[in.Name])
		shown.Variables[i].Value = &value
		return shown.Variables[i], err
	},
}

// States of a ConfigVariable.
const (
	removed = "removed" // it goes with the next release
	ofFiles = "file"    // the app's own files set it
)

// ExportConfig returns the values of an app's configuration.
var ExportConfig = Operation[OfApp, secret.Values]{
	Declaration{Name: "config export", Args: "APP", Does: "Print the configuration of an app as a .env file", Verb: app.VerbChange, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfApp) (secret.Values, error) {
		_, current, err := c.config(ctx)
		if err != nil {
			return nil, err
		}
		return c.Config.Open(c.app, current)
	},
}

// config returns the app's configuration, without values, and its current version.
func (c call) config(ctx context.Context) (shown AppConfig, current app.Configuration, err error) {
	shown = AppConfig{App: c.app, Variables: []ConfigVariable{}}
	a, err := c.Store.App(ctx, c.app)
	if err != nil {
		return shown, current, err
	}
	if current, err = c.Store.CurrentConfiguration(ctx, a.ID); err != nil {
		return shown, current, err
	}
	shown.Version = current.Version
	if shown.Lost, err = c.Config.Lost(current); err != nil {
		return shown, current, err
	}
	live, err := c.Store.Ledger(c.app).Live(ctx)
	var serves app.Configuration
	switch {
	case err == nil:
		shown.Release = live.Version
		if serves, err = c.configurationOf(ctx, a.ID, live.Version); err != nil {
			return shown, current, err
		}
		if _, shown.files, err = runs(ctx, c.Store.Ledger(c.app), live.Version); err != nil {
			return shown, current, err
		}
	case app.CodeOf(err) != app.CodeNotFound:
		return shown, current, err
	}
	for _, v := range current.Variables {
		state := "staged"
		if l := serves.Variable(v.Name); l != nil && l.Digest == v.Digest {
			state = "live"
		}
		shown.Variables = append(shown.Variables, ConfigVariable{Variable: v, State: state})
	}
	for _, v := range slices.Concat(current.Variables, serves.Variables) {
		delete(shown.files, v.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(shown.files)) {
		shown.Files = append(shown.Files, FileVariable{Name: name})
	}
	for _, v := range serves.Variables {
		if current.Variable(v.Name) == nil {
			shown.Variables = append(shown.Variables, ConfigVariable{Variable: v, State: removed})
		}
	}
	slices.SortStableFunc(shown.Variables, func(a, b ConfigVariable) int { return strings.Compare(a.Name, b.Name) })
	return shown, current, nil
}

// configurationOf returns the configuration that a release has.
func (c call) configurationOf(ctx context.Context, appID int64, version int) (app.Configuration, error) {
	manifest, err := c.Store.Ledger(c.app).Service(ctx, version)
	if err != nil {
		return app.Configuration{}, err
	}
	var s servingv1.Service
	if err := json.Unmarshal(manifest, &s); err != nil {
		return app.Configuration{}, err
	}
	n, err := deploy.ConfigurationOf(&s.Spec.Template, c.app)
	if err != nil {
		return app.Configuration{}, err
	}
	return c.Store.Configuration(ctx, appID, n)
}

// ChangeConfig asks for a change of an app's configuration.
type ChangeConfig struct {
	OfApp
	release.ConfigChange
	Log *app.Log // is told the steps
}

// Configured is what came of a change.
type Configured = release.Configured

// SetConfig sets variables of an app's configuration.
var SetConfig = Operation[ChangeConfig, Configured]{
	Declaration{Name: "config set", Args: "APP NAME=VALUE …", Does: "Set variables of an app's configuration, as one release", Verb: app.VerbChange, Needs: NeedsServer, Streams: true, Secret: true},
	changeConfig,
}

// UnsetConfig removes variables of an app's configuration.
var UnsetConfig = Operation[ChangeConfig, Configured]{
	Declaration{Name: "config unset", Args: "APP NAME …", Does: "Remove variables of an app's configuration, as one release", Verb: app.VerbChange, Needs: NeedsServer, Streams: true},
	changeConfig,
}

func changeConfig(ctx context.Context, c call, in ChangeConfig) (Configured, error) {
	return c.Machine.Configure(ctx, c.by, c.app, in.ConfigChange, in.Log)
}

// TwoReleases names two releases of an app.
type TwoReleases struct {
	OfApp
	From, To int
}

// ConfigDifference is a variable that two releases do not have in common. A digest is "" where the release has no such variable.
type ConfigDifference struct {
	Name string    `json:"name"`
	From string    `json:"from,omitempty"` // digest
	To   string    `json:"to,omitempty"`   // digest
	Set  time.Time `json:"set"`            // when the newer value was set; the older one's where it was removed
	By   string    `json:"by"`
}

// DiffConfig compares the configuration of two releases.
var DiffConfig = Operation[TwoReleases, []ConfigDifference]{
	Declaration{Name: "config diff", Args: "APP vN vM", Does: "Compare the configuration of two releases, by digests", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, in TwoReleases) ([]ConfigDifference, error) {
		a, err := c.Store.App(ctx, c.app)
		if err != nil {
			return nil, err
		}
		var both [2]app.Configuration
		for i, version := range []int{in.From, in.To} {
			if _, err := c.Store.Ledger(c.app).Find(ctx, version); err != nil {
				return nil, err
			}
			if both[i], err = c.configurationOf(ctx, a.ID, version); err != nil {
				return nil, err
			}
		}
		return differences(both[0], both[1]), nil
	},
}

// differences are the variables that two configurations do not have in common, by name.
func differences(before, after app.Configuration) []ConfigDifference {
	list := []ConfigDifference{}
	for _, to := range after.Variables {
		d := ConfigDifference{Name: to.Name, To: to.Digest, Set: to.Set, By: to.By}
		if from := before.Variable(to.Name); from != nil {
			d.From = from.Digest
		}
		if d.From != d.To {
			list = append(list, d)
		}
	}
	for _, from := range before.Variables {
		if after.Variable(from.Name) == nil {
			list = append(list, ConfigDifference{Name: from.Name, From: from.Digest, Set: from.Set, By: from.By})
		}
	}
	slices.SortFunc(list, func(a, b ConfigDifference) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Rekeyed is what came of a new key.
type Rekeyed struct {
	Sealed int `json:"sealed"` // versions of configuration that are sealed under it
	Lost   int `json:"lost"`   // versions whose key is not there
}

// RekeyConfig seals the configuration of all apps under a new key.
var RekeyConfig = Operation[OfServer, Rekeyed]{
	Declaration{Name: "config rekey", Does: "Seal the configuration of all apps under a new key, and forget the old one", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfServer) (r Rekeyed, err error) {
		r.Sealed, r.Lost, err = c.Config.Rekey(ctx)
		return r, err
	},
}

// ReadConfigInput reads a file of variables, or one value, of at most MaxConfigInput bytes.
func ReadConfigInput(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxConfigInput+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxConfigInput {
		return nil, app.Errorf(app.CodeLimitExceeded, "keep what is large elsewhere, and its address here", "what is given for the configuration is larger than %s", app.Size(MaxConfigInput))
	}
	return b, nil
}
