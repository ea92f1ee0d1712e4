package project

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/schedule"
)

// withAppJSON reads these files as those of an app.
func withAppJSON(t testing.TB, descriptor, manifest string) Descriptor {
	t.Helper()
	d, err := Read(func(name string, limit int64) ([]byte, error) {
		text := map[string]string{File: descriptor, AppJSON: manifest}[name]
		if text == "" {
			return nil, fs.ErrNotExist
		}
		if int64(len(text)) > limit {
			return nil, bad("too large")
		}
		return []byte(text), nil
	}, slices.Values[[]string](nil), "hello")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What Heroku and Dokku write into app.json, and what becomes of it.
func TestAppJSON(t *testing.T) {
	d := withAppJSON(t, "", byteOrderMark+`{
	"name": "shop", "description": "a shop", "stack": "heroku-24", "keywords": ["shop"],
	"formation": {"web": {"quantity": 2, "size": "standard-1x"}, "worker": {"quantity": 3}, "clock": {"quantity": 0}, "release": {"quantity": 1}},
	"healthchecks": {"web": [{"type": "startup", "name": "web", "path": "/up", "attempts": 4, "timeout": 2, "wait": 3, "initialDelay": 10}]},
	"scripts": {"postdeploy": {"command": "bundle exec rake db:seed"}, "dokku": {"predeploy": " make -C /app assets", "postdeploy": "curl example.com"}},
	"buildpacks": [{"url": "heroku/nodejs"}, {"url": "https://github.com/heroku/heroku-buildpack-ruby.git"}, {"url": "heroku-community/apt"}],
	"addons": ["heroku-postgresql:mini", {"plan": "heroku-redis"}],
	"cron": [{"command": "rake clean", "schedule": "@daily"}]
}`)
	if d.Web.MinScale != 2 || d.Web.MaxScale != 10 || *d.Processes["worker"].Instances != 3 || *d.Processes["clock"].Instances != 0 || len(d.Processes) != 2 {
		t.Errorf("formation: %d..%d, %+v", d.Web.MinScale, d.Web.MaxScale, d.Processes)
	}
	if d.Web.HealthPath != "/up" || d.Web.HealthTimeout != 30*time.Second {
		t.Errorf("healthchecks: %s, %s", d.Web.HealthPath, d.Web.HealthTimeout)
	}
	if want := (Scripts{"make -C /app assets", "curl example.com", "bundle exec rake db:seed"}); d.Scripts != want {
		t.Errorf("scripts: %+v", d.Scripts)
	}
	if fmt.Sprint(d.Buildpacks) != "[{nodejs } {ruby }]" || d.BuildEnv["GITD_BUILDPACKS_ASKED"] == "" && len(d.BuildEnv) != 1 {
		t.Errorf("buildpacks: %v, %v", d.Buildpacks, d.BuildEnv)
	}
	told := strings.Join(d.Remarks, "\n")
	for _, part := range []string{"formation.web: the size standard-1x has no meaning here", "addons: there are none", "cron: its times are in UTC", "what it writes to files is not kept"} {
		if strings.Count(told, part) != 1 {
			t.Errorf("%q is not in:\n%s", part, told)
		}
	}
	if len(d.Remarks) != 4 {
		t.Errorf("%q", d.Remarks)
	}
}

// Dokku's cron becomes schedules, unless project.toml has some.
func TestAppJSON_Cron(t *testing.T) {
	const cron = `{"cron": [{"command": "python3 task.py schedule > /app/log", "schedule": "5 4 * * *"}, {"command": "task", "schedule": "@daily", "concurrency_policy": "forbid"},
	{"command": "x", "schedule": "every day"}, {"command": "", "schedule": "@daily"}, {"command": "y", "schedule": "@daily", "maintenance": true}, {"command": "z", "schedule": "@daily", "concurrency_policy": "maybe"}]}`
	d := withAppJSON(t, "", cron)
	if len(d.Schedules) != 2 || fmt.Sprintf("%q", d.Schedules[0].Command) != `["bash" "-c" "python3 task.py schedule > /app/log"]` || d.Schedules[0].Overlap != schedule.Allow ||
		d.Schedules[0].Missed != schedule.Skip || fmt.Sprintf("%q", d.Schedules[1].Command) != `["task"]` || d.Schedules[1].Overlap != schedule.Forbid || d.Schedules[1].Name != "cron-2" {
		t.Errorf("%+v", d.Schedules)
	}
	if told := strings.Join(d.Remarks, "\n"); strings.Count(told, "app.json: cron-") != 4 || !strings.Contains(told, "cron: its times are in UTC") {
		t.Error(told)
	}
	d = withAppJSON(t, "[[io.gitd.schedules]]\nname = \"mine\"\nschedule = \"0 0 * * *\"\ncommand = \"task\"\n", cron)
	if len(d.Schedules) != 1 || d.Schedules[0].Name != "mine" {
		t.Errorf("%+v", d.Schedules)
	}
}

// Its variables are declared as those of [io.gitd.config] are.
func TestAppJSON_Env(t *testing.T) {
	d := withAppJSON(t, "[io.gitd.config]\nTOKEN = { default = \"mine\" }\n[io.gitd.web.env]\nHERE = \"x\"\n", `{"env": {
	"PLAIN": "one", "VALUE": {"value": "two", "required": false, "description": "what it is"}, "EMPTY": {"value": ""}, "NEEDED": {"description": "a key"},
	"SECRET": {"generator": "secret"}, "MAYBE": {"required": false}, "TOKEN": {"generator": "secret"}, "HERE": "y", "PORT": "80", "a b": "c", "ODD": [3], "SYNCED": {"value": "s", "sync": true},
	"OTHER": {"generator": "dice", "required": false}
}}`)
	got := ""
	for _, c := range d.Config {
		got += fmt.Sprintf("%s required=%t default=%t %q generate=%d %q\n", c.Name, c.Required, c.HasDefault, c.Default, c.Generate, c.Description)
	}
	want := `TOKEN required=false default=true "mine" generate=0 ""
EMPTY required=false default=true "" generate=0 ""
MAYBE required=false default=false "" generate=0 ""
NEEDED required=true default=false "" generate=0 "a key"
OTHER required=false default=false "" generate=0 ""
PLAIN required=false default=true "one" generate=0 ""
SECRET required=false default=false "" generate=32 ""
SYNCED required=false default=true "s" generate=0 ""
VALUE required=false default=true "two" generate=0 "what it is"
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	told := strings.Join(d.Remarks, "\n")
	for _, part := range []string{"env.PORT: it cannot be", "env.a b: it cannot be", "env.ODD: it is not as", "env.SYNCED.sync: a value", "env.OTHER: the generator dice is not known"} {
		if strings.Count(told, part) != 1 {
			t.Errorf("%q is not in:\n%s", part, told)
		}
	}
}

// Where project.toml says the same, it counts.
func TestAppJSON_ProjectCounts(t *testing.T) {
	d := withAppJSON(t, `[io.gitd.web]
max-scale = 3
health-path = "/"
health-timeout = "5s"
[io.gitd.processes.worker]
instances = 1
[io.gitd.build]
buildpacks = ["python"]
`, `{"formation": {"web": {"quantity": 2}, "worker": {"quantity": 3}}, "healthchecks": {"web": [{"path": "/up", "timeout": 60}]}, "buildpacks": [{"url": "heroku/nodejs"}]}`)
	if d.Web.MinScale != 0 || d.Web.MaxScale != 3 || *d.Processes["worker"].Instances != 1 || d.Web.HealthPath != "/" || d.Web.HealthTimeout != 5*time.Second ||
		fmt.Sprint(d.Buildpacks) != "[{python }]" {
		t.Errorf("%+v", d)
	}
}

// What is not as it should be is told, and refuses nothing.
func TestAppJSON_Hostile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"Empty", " ", "app.json: line 1, column 1: unexpected end of JSON input; nothing of it is used"},
		{"Malformed", "{\n  \"formation\": x,\n}", "app.json: line 2, column 16: invalid character 'x'"},
		{"Comment", "{\n// mine, \" }\n/* \n } */ \"formation\": {\"worker\": {\"quantity\": -1,},}, // , \n}", "-1 is not between"},
		{"NoComment", `{"buildpacks": [{"url": "https://x//\"/*,]"}], x}`, "column 48: invalid character 'x'"},
		{"OpenComment", "{ /* ", "unexpected end"},
		{"List", "[]", "app.json: cannot be a JSON array"},
		{"Formation", `{"formation": ["web"]}`, "app.json: formation: it is not as Heroku and Dokku have it"},
		{"Quantity", `{"formation": {"web": {"quantity": "two"}}}`, `formation.web.quantity: "two" is not a number`},
		{"Many", `{"formation": {"worker": {"quantity": 5000}}}`, "formation.worker.quantity: 5000 is not between 0 and 100"},
		{"Negative", `{"formation": {"worker": {"quantity": -1}}}`, "-1 is not between"},
		{"Path", `{"healthchecks": {"web": [{"path": "/a b\r\nX: y"}]}}`, "is not the path of a URL"},
		{"Content", `{"healthchecks": {"web": [{"path": "/up", "content": "ok"}, {"command": ["ls"]}]}}`, "content: what the page says is not looked at"},
		{"Other", `{"healthchecks": {"worker": [{"uptime": 10}]}}`, "one check of web's by its path is made"},
		{"Script", `{"scripts": {"postdeploy": 3}}`, "it is not as Heroku and Dokku have it"},
		{"LongScript", `{"scripts": {"postdeploy": "` + strings.Repeat("x", maxScript+1) + `"}}`, "scripts.postdeploy: it is longer than 8 KiB"},
		{"Buildpack", `{"buildpacks": [{"url": "https://github.com/someone/ffmpeg"}]}`, "https://github.com/someone/ffmpeg has no counterpart here"},
		{"Terminal", `{"buildpacks": [{"url": "\u001b[31mx"}]}`, "x has no counterpart"},
		{"Deep", strings.Repeat("[", 5000), "it is more than 32 deep"},
		{"Large", `{"name": "` + strings.Repeat("x", maxAppJSON) + `"}`, "it cannot be read"},
		{"Expo", `{"expo": {"name": "app"}, "formation": []}`, ""},
		{"Informative", `{"name": "app", "displayName": "App"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := withAppJSON(t, "", tt.text)
			told := strings.Join(d.Remarks, "\n")
			if !strings.Contains(told, tt.want) || tt.want == "" && told != "" {
				t.Errorf("%q, want %q", told, tt.want)
			}
		})
	}
}

// Whatever is in it, reading ends, says little, and leaves settings within their bounds.
func FuzzAppJSON(f *testing.F) {
	f.Add(`{"formation": {"web": {"quantity": 2, "size": "x"}}, "scripts": {"dokku": {"predeploy": "a"}}, "healthchecks": {"web": [{"path": "/", "timeout": 1e300}]}}`)
	f.Add(`{"buildpacks": [{"url": "heroku/nodejs"}], "env": {"A": {"generator": "secret"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d := defaults()
		d.parseAppJSON([]byte(text))
		if len(d.moved) > maxEntries+maxRemarks || d.Web.MinScale < 0 || d.Web.MinScale > MaxInstances || d.Web.HealthTimeout < time.Second || d.Web.HealthTimeout > 10*time.Minute ||
			len(d.Buildpacks) > maxBuildpacks || len(d.Processes) > maxEntries {
			t.Errorf("%+v", d)
		}
		for _, r := range d.moved {
			if len(r) > 400 || strings.ContainsAny(r, "\r\n\x1b") {
				t.Errorf("%q", r)
			}
		}
	})
}

// What is written in another way than Heroku and Dokku document, and meant the same: numbers and truth in place of texts and the other way round, the older list of a formation,
// and names of buildpacks alone.
func TestAppJSON_OtherForms(t *testing.T) {
	d := withAppJSON(t, "", `{
	"env": {"WORKERS": {"value": 3}, "DEBUG": {"value": false}, "RATE": 1.5, "ON": true, "ID": 12345678901234567890,
		"NOT": {"required": "false"}, "MUST": {"required": "true"}, "BAD": {"value": [1]}},
	"formation": [{"process": "web", "quantity": "2"}, {"process": "worker", "quantity": 3, "size": "hobby"}],
	"buildpacks": ["heroku/nodejs", {"url": "heroku/ruby"}]
}`)
	values := map[string]string{}
	for _, v := range d.Config {
		values[v.Name] = fmt.Sprint(v.Default, v.HasDefault, v.Required)
	}
	for name, want := range map[string]string{"WORKERS": "3true false", "DEBUG": "falsetrue false", "RATE": "1.5true false", "ON": "truetrue false", "ID": "12345678901234567890true false",
		"NOT": "false false", "MUST": "false true"} {
		if strings.ReplaceAll(values[name], " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("env.%s: %q", name, values[name])
		}
	}
	if d.Web.MinScale != 2 || *d.Processes["worker"].Instances != 3 || fmt.Sprint(d.Buildpacks) != "[{nodejs } {ruby }]" {
		t.Errorf("%d, %+v, %v", d.Web.MinScale, d.Processes, d.Buildpacks)
	}
	told := strings.Join(d.Remarks, "\n")
	if len(d.Remarks) != 2 || !strings.Contains(told, "env.BAD") || !strings.Contains(told, "formation.worker: the size hobby") {
		t.Errorf("told:\n%s", told)
	}
	for _, empty := range []string{`{"env": []}`, `{"env": null, "formation": null, "buildpacks": null, "scripts": null}`, `{"formation": []}`} {
		if d := withAppJSON(t, "", empty); len(d.Remarks) > 0 {
			t.Errorf("%s: %q", empty, d.Remarks)
		}
	}
	if d := withAppJSON(t, "", `{"formation": {"worker": {"quantity": "many"}}}`); len(d.Remarks) != 1 || !strings.Contains(d.Remarks[0], `formation.worker.quantity: "many" is not a number`) {
		t.Errorf("%q", d.Remarks)
	}
}
