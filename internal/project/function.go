package project

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/function"
	patterns "github.com/gitd-io/gitd/internal/pattern"
)

// functionTable is [io.gitd.function].
type functionTable struct {
	Contract    *string `toml:"contract"`
	Target      *string `toml:"target"`
	Signature   *string `toml:"signature"`
	Handler     *string `toml:"handler"`
	Source      *string `toml:"source"`
	Concurrency *int64  `toml:"concurrency"`
}

var (
	functionTarget  = patterns.New(`^[A-Za-z_$][\w$.-]{0,99}$`)
	functionHandler = patterns.New(`^[\w./-]{1,150}\.[A-Za-z_$][\w$]{0,99}$|^bootstrap$`)
)

// function hands what the descriptor says of a function to the build, whose buildpack serves it.
func (d *Descriptor) function(t *functionTable, text string) error {
	if t == nil {
		return nil
	}
	s, key, err := t.settings()
	if err != nil {
		at := ""
		if n := keyLine(text, "io.gitd.function", key); n > 0 {
			at = fmt.Sprintf("line %d: ", n)
		}
		return bad("%sio.gitd.function.%s: %v", at, key, err)
	}
	value, err := json.Marshal(s)
	d.BuildEnv[catalog.FunctionVariable] = string(value)
	return err
}

// settings checks the table. An error comes with the key that is wrong.
func (t *functionTable) settings() (s function.Settings, key string, err error) {
	text := func(v *string) string {
		if v == nil {
			return ""
		}
		return *v
	}
	s = function.Settings{Contract: function.Contract(text(t.Contract)), Target: text(t.Target), Signature: function.Signature(text(t.Signature)), Handler: text(t.Handler), Source: text(t.Source)}
	quoted := func(v string) string { return `"` + app.Clip(app.Plain(v), 60) + `"` }
	switch {
	case t.Contract != nil && s.Contract != function.FunctionsFramework && s.Contract != function.Knative && s.Contract != function.Lambda:
		return s, "contract", fmt.Errorf(`%s is not one of "functions-framework", "knative" and "lambda"`, quoted(*t.Contract))
	case t.Target != nil && !functionTarget.MatchString(s.Target):
		return s, "target", fmt.Errorf("%s is not the name of a function", quoted(s.Target))
	case t.Signature != nil && s.Signature != function.HTTP && s.Signature != function.Event && s.Signature != function.CloudEvent:
		return s, "signature", fmt.Errorf(`%s is not one of "http", "event" and "cloudevent"`, quoted(*t.Signature))
	case t.Handler != nil && !functionHandler.MatchString(s.Handler):
		return s, "handler", fmt.Errorf(`%s is not a handler of Lambda: write the file and the function, as in "app.handler", or "bootstrap" for a program that speaks the runtime API`, quoted(s.Handler))
	case t.Handler != nil && t.Contract != nil && s.Contract != function.Lambda:
		return s, "handler", fmt.Errorf("it goes with the contract lambda, and the contract is %s", s.Contract)
	case t.Handler != nil && t.Target != nil:
		return s, "handler", fmt.Errorf("it is for Lambda, and target for the other contracts: keep one of them")
	case s.Signature == function.Event && (t.Handler != nil || s.Contract == function.Lambda):
		return s, "signature", fmt.Errorf(`handlers of Lambda have "http" or "cloudevent", and without it they take both`)
	case s.Contract == function.Knative && s.Signature == function.Event:
		return s, "signature", fmt.Errorf(`functions of Knative have "http" or "cloudevent"`)
	}
	if t.Handler != nil {
		s.Contract = function.Lambda
	}
	if t.Source != nil {
		clean := path.Clean(s.Source)
		if s.Source == "" || path.IsAbs(s.Source) || clean == ".." || strings.HasPrefix(clean, "../") || len(s.Source) > 200 || app.Plain(s.Source) != s.Source {
			return s, "source", fmt.Errorf("%s is not a file or folder of the app", quoted(s.Source))
		}
		s.Source = clean
	}
	if t.Concurrency != nil {
		s.Concurrency = *t.Concurrency
		if s.Concurrency < 1 || s.Concurrency > function.MaxConcurrency {
			return s, "concurrency", fmt.Errorf("%d is not between 1 and %d", s.Concurrency, function.MaxConcurrency)
		}
		if s.Contract == function.Lambda && s.Concurrency != 1 {
			return s, "concurrency", fmt.Errorf("a handler of Lambda takes one request at a time: remove the setting")
		}
	}
	return s, "", nil
}

// keyLine is the line of a key of a table, or of the table; 0 where neither is written in the usual way.
func keyLine(text, table, key string) int {
	n, in, header := 0, "", 0
	for l := range strings.Lines(text) {
		n++
		l = strings.NewReplacer(" ", "", "\t", "").Replace(strings.TrimSpace(l))
		if strings.HasPrefix(l, "[") {
			name, _, _ := strings.Cut(strings.Trim(l, "["), "]")
			if in = name; in == table && header == 0 {
				header = n
			}
			continue
		}
		name, _, said := strings.Cut(l, "=")
		if said && in != "" {
			name = in + "." + name
		}
		if said && name == table+"."+key {
			return n
		}
	}
	return header
}

// Function takes over what the build found of a function, where the app's own settings do not say otherwise.
func (w *Web) Function(s *function.Spec) {
	if s == nil {
		return
	}
	if s.Health != "" && !w.pathSaid {
		w.HealthPath = s.Health
	}
	if s.Concurrency > 0 {
		w.Concurrency = s.Concurrency
	}
}
