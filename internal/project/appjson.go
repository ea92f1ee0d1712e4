package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gitd-io/gitd/internal/app"
)

// AppJSON is the manifest of apps that come from Heroku or Dokku. Another program's file may have the same name (Expo's), and nothing in it is worth
// refusing a push for: what cannot be used of it is told in a line.
const AppJSON = "app.json"

// Bounds on app.json.
const (
	maxAppJSON  = 64 << 10 // bytes
	maxScript   = 8 << 10  // bytes of one command
	maxEntries  = 200      // process types, variables
	maxRemarks  = 20
	maxJSONDeep = 32
)

// Scripts are the commands of app.json that run at a deployment, by a shell.
type Scripts struct {
	Predeploy  string // before the release command, in a container of its own
	Postdeploy string // after each release that goes live
	First      string // after the first one
}

// manifest is app.json, whose parts are read one by one: one that is not as expected does not spoil the others.
type manifest map[string]json.RawMessage

// appJSON takes over what app.json says and project.toml does not.
func (d *Descriptor) appJSON(read func(name string, limit int64) ([]byte, error)) {
	text, err := read(path.Join(d.AppDir, AppJSON), maxAppJSON)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		message, _ := app.Explain(err)
		d.notUsed("it cannot be read: %s", message)
	default:
		d.parseAppJSON(text)
	}
	slices.Sort(d.moved)
	d.Remarks = append(d.Remarks, d.moved[:min(len(d.moved), maxRemarks)]...)
}

// parseAppJSON is appJSON for its text.
func (d *Descriptor) parseAppJSON(text []byte) {
	text = relaxed(bytes.TrimPrefix(text, []byte(byteOrderMark)))
	if deep(text) {
		d.notUsed("it is more than %d deep", maxJSONDeep)
		return
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		d.notUsed("%s", where(text, err))
		return
	}
	if m["expo"] != nil { // Expo's own file
		return
	}
	for name, take := range map[string]func(json.RawMessage) error{"formation": d.formation, "healthchecks": d.healthchecks, "scripts": d.scripts, "buildpacks": d.movedBuildpacks, "env": d.movedEnv, "cron": d.movedCron} {
		if m[name] == nil {
			continue
		}
		if err := take(m[name]); err != nil {
			d.notUsed("%s: it is not as Heroku and Dokku have it: %s", name, where(m[name], err))
		}
	}
	if n := count(m["addons"]); n > 0 {
		d.notUsed("addons: there are none; give the app the address of its database by config set")
	}
}

// notUsed notes that something of app.json has no effect.
func (d *Descriptor) notUsed(format string, args ...any) {
	d.moved = append(d.moved, AppJSON+": "+app.Line(fmt.Sprintf(format, args...), 300))
}

// relaxed replaces comments, and commas before a closing bracket, by spaces: Dokku takes both. Lines and columns stay as they are.
func relaxed(text []byte) []byte {
	out := bytes.Clone(text)
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
	}
	comma := -1 // the last one, if nothing but space came after it
	for i := 0; i < len(text); i++ {
		end := func(mark string) int {
			if n := bytes.Index(text[i+2:], []byte(mark)); n >= 0 {
				return i + 2 + n + len(mark)
			}
			return len(text)
		}
		switch c := text[i]; {
		case c == '"':
			comma = -1
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case bytes.HasPrefix(text[i:], []byte("//")), bytes.HasPrefix(text[i:], []byte("/*")):
			to := end(map[byte]string{'/': "\n", '*': "*/"}[text[i+1]])
			blank(i, to)
			i = to - 1
		case c == ',':
			comma = i
		case (c == '}' || c == ']') && comma >= 0:
			blank(comma, comma+1)
			comma = -1
		case !unicode.IsSpace(rune(c)):
			comma = -1
		}
	}
	return out
}

// deep reports whether JSON is nested more than maxJSONDeep deep.
func deep(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDeep {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// where is an error of the JSON parser with its line and column.
func where(text []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		before := text[:min(max(int(syntax.Offset)-1, 0), len(text))]
		return fmt.Sprintf("line %d, column %d: %s; nothing of it is used", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'), syntax.Error())
	case errors.As(err, &kind):
		return strings.TrimSpace(kind.Field + " cannot be a JSON " + kind.Value)
	}
	return err.Error()
}

// count is the number of entries of a list or an object.
func count(raw json.RawMessage) int {
	var list []json.RawMessage
	var object map[string]json.RawMessage
	_, _ = json.Unmarshal(raw, &list), json.Unmarshal(raw, &object)
	return len(list) + len(object)
}

// formation takes over the numbers of instances. One instance of web is what an app without a formation has.
func (d *Descriptor) formation(raw json.RawMessage) error {
	types, err := formationTypes(raw)
	if err != nil {
		return err
	}
	for _, t := range slices.Sorted(maps.Keys(types))[:min(len(types), maxEntries)] {
		name := app.Clip(app.Plain(t), 60)
		n, err := types[t].number()
		if err != nil {
			d.notUsed("formation.%s.quantity: %q is not a number", name, app.Clip(app.Plain(string(*types[t].Quantity)), 30))
			continue
		}
		if size := types[t].Size; size != "" {
			d.notUsed("formation.%s: the size %s has no meaning here: memory and cpu in project.toml set one", name, app.Clip(app.Plain(size), 30))
		}
		p := d.Processes[t]
		switch {
		case n == nil || t == "release":
		case *n < 0 || *n > MaxInstances:
			d.notUsed("formation.%s.quantity: %d is not between 0 and %d", name, *n, MaxInstances)
		case t == "web" && *n > 0:
			if w := &d.Web; *n > 1 && !w.MinScaleSaid && !w.MaxScaleSaid {
				w.MinScale, w.MaxScale = *n, max(*n, w.MaxScale)
			}
		case p.Instances == nil:
			p.Instances, p.Moved = n, true
			d.Processes[t] = p
		}
	}
	return nil
}

// dynos is what a formation says of a process type.
type dynos struct {
	Process  string  `json:"process"` // in a list
	Quantity *scalar `json:"quantity"`
	Size     string  `json:"size"`
}

// number is the quantity; nil where none is said.
func (f dynos) number() (*int64, error) {
	if f.Quantity == nil {
		return nil, nil
	}
	n, err := strconv.ParseInt(string(*f.Quantity), 10, 64)
	return &n, err
}

// formationTypes reads a formation: by process type, or, as it was once, as a list.
func formationTypes(raw json.RawMessage) (map[string]dynos, error) {
	types := map[string]dynos{}
	err := json.Unmarshal(raw, &types)
	var list []dynos
	if err == nil || json.Unmarshal(raw, &list) != nil {
		return types, err
	}
	for _, one := range list {
		if one.Process == "" {
			return nil, err
		}
		types[one.Process] = one
	}
	return types, nil
}

// healthchecks takes over the path of web's first check, as Dokku has it, and for how long it is asked.
func (d *Descriptor) healthchecks(raw json.RawMessage) error {
	var all map[string][]struct {
		Type     string  `json:"type"`
		Path     string  `json:"path"`
		Attempts float64 `json:"attempts"`
		Timeout  float64 `json:"timeout"`
		Wait     float64 `json:"wait"`
		Delay    float64 `json:"initialDelay"`
		Content  string  `json:"content"`
		Command  any     `json:"command"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	taken := false
	for _, c := range all["web"] {
		if taken || c.Path == "" || c.Type == "liveness" {
			continue
		}
		taken = true
		path := d.Web.HealthPath
		if err := healthPath(&c.Path, &path); err != nil {
			d.notUsed("healthchecks.web: %q is not the path of a URL", app.Clip(app.Plain(c.Path), 60))
			continue
		}
		if c.Content != "" {
			d.notUsed("healthchecks.web.content: what the page says is not looked at; its status is")
		}
		if !d.Web.pathSaid {
			d.Web.HealthPath = path
		}
		or := func(v, standard float64) time.Duration {
			if v <= 0 {
				v = standard
			}
			return time.Duration(min(v, 3600) * float64(time.Second))
		}
		limit := time.Duration(min(max(c.Attempts, 1), 100))*(or(c.Timeout, 5)+or(c.Wait, 5)) + or(c.Delay, 0)
		if !d.Web.timeoutSaid && (c.Attempts > 0 || c.Timeout > 0 || c.Wait > 0 || c.Delay > 0) {
			d.Web.HealthTimeout = min(max(limit, time.Second), 10*time.Minute)
		}
	}
	other := len(all["web"]) > 1 || len(all["web"]) == 1 && !taken
	for t := range all {
		other = other || t != "web"
	}
	if other {
		d.notUsed("healthchecks: one check of web's by its path is made, before traffic shifts; the others are not")
	}
	return nil
}

// scripts takes over the commands that run at a deployment.
func (d *Descriptor) scripts(raw json.RawMessage) error {
	var s struct {
		Postdeploy json.RawMessage `json:"postdeploy"`
		Dokku      struct {
			Predeploy  string `json:"predeploy"`
			Postdeploy string `json:"postdeploy"`
		} `json:"dokku"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	var first struct {
		Command string `json:"command"`
	}
	if s.Postdeploy != nil && json.Unmarshal(s.Postdeploy, &first.Command) != nil {
		if err := json.Unmarshal(s.Postdeploy, &first); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name, command string
		to            *string
	}{{"dokku.predeploy", s.Dokku.Predeploy, &d.Scripts.Predeploy}, {"dokku.postdeploy", s.Dokku.Postdeploy, &d.Scripts.Postdeploy}, {"postdeploy", first.Command, &d.Scripts.First}} {
		if len(c.command) > maxScript || strings.ContainsRune(c.command, 0) {
			d.notUsed("scripts.%s: it is longer than %s, or has a NUL", c.name, app.Size(maxScript))
			continue
		}
		*c.to = strings.TrimSpace(c.command)
	}
	if d.Scripts.Predeploy != "" {
		d.notUsed("scripts.dokku.predeploy: what it writes to files is not kept: what makes files belongs into the build")
	}
	return nil
}

// builtBy are the buildpacks of Heroku's names that stand for one of the builder's; "" for those that are not needed.
var builtBy = map[string]string{"nodejs": "nodejs", "python": "python", "ruby": "ruby", "go": "go", "php": "php", "java": "java", "jvm": "java", "gradle": "java", "scala": "java",
	"clojure": "java", "procfile": "", "apt": ""}

// movedBuildpack is one of Heroku's: an object with its URL, or that alone.
type movedBuildpack struct {
	URL string `json:"url"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *movedBuildpack) UnmarshalJSON(raw []byte) error {
	type plain movedBuildpack
	if json.Unmarshal(raw, &b.URL) == nil {
		return nil
	}
	return json.Unmarshal(raw, (*plain)(b))
}

// movedBuildpacks names the builder's buildpacks for Heroku's, where there is one for each.
func (d *Descriptor) movedBuildpacks(raw json.RawMessage) error {
	var list []movedBuildpack
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	var ids []string
	for _, b := range list[:min(len(list), maxBuildpacks)] {
		name := strings.TrimSuffix(path.Base(strings.TrimSuffix(b.URL, "/")), ".git")
		id, known := builtBy[strings.TrimPrefix(name, "heroku-buildpack-")]
		if !known {
			d.notUsed("buildpacks: %s has no counterpart here: what builds the app is found by its files", app.Clip(app.Plain(b.URL), 100))
			return nil
		}
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(d.Buildpacks) > 0 || len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		d.Buildpacks = append(d.Buildpacks, Buildpack{ID: id})
	}
	d.asked()
	return nil
}
