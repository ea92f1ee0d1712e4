package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/spf13/cobra"
)

// ledger makes a database with an admin's key, an ordinary one, an app and its releases.
func ledger(t *testing.T) (*operation.Services, app.Caller) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gitd.db")
	st, err := store.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ctx := context.Background()
	for _, k := range []app.Key{{Name: "root", Fingerprint: "SHA256:r", Public: "ssh-ed25519 AAAA", Admin: true}, {Name: "dev", Fingerprint: "SHA256:d", Public: "ssh-ed25519 BBBB"}} {
		if err := st.AddKey(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.CreateApp(ctx, "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := st.AddRelease(ctx, app.Release{App: "hello", Commit: strings.Repeat("c", 40), Key: "dev", Message: "caf\u00e9 \u202e\x1b[2J"}); err != nil {
			t.Fatal(err)
		}
	}
	dev, err := st.KeyByName(ctx, "dev")
	if err != nil {
		t.Fatal(err)
	}
	return &operation.Services{Store: st, Database: file, LogDir: filepath.Dir(file), URL: func(name string) string { return "http://" + name }}, app.Caller{Key: dev}
}

func run(s *operation.Services, by app.Caller, line, stdin string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = Run(context.Background(), s, by, strings.Fields(line), strings.NewReader(stdin), &o, &e, nil)
	return status, o.String(), e.String()
}

// What is wrong with a command line is said in words, with the place to read on, and nothing of how it was read.
func TestRun_Words(t *testing.T) {
	s, dev := ledger(t)
	for _, tt := range []struct {
		by          app.Caller
		line        string
		status      int
		what, after string // a pattern, and what to do next
	}{
		{app.Root, "frobnicate", app.ExitUsage, `unknown command "frobnicate"`, "see what there is: gitd help"},
		{app.Root, "keys frobnicate", app.ExitUsage, `unknown command "keys frobnicate"`, "see what there is: gitd help keys"},
		{app.Root, "rollback", app.ExitUsage, `APP is missing: gitd rollback APP \[vN\]`, "see how: gitd help rollback"},
		{app.Root, "promote hello", app.ExitUsage, `vN is missing, or --from BRANCH: gitd promote APP vN`, "see how: gitd help promote"},
		{app.Root, "keys list all", app.ExitUsage, `keys list takes no argument, and got "all"`, "see how: gitd help keys list"},
		{app.Root, "apps hello create", app.ExitUsage, `apps does not take so many arguments: "create" is left over`, "name the app last: gitd apps create hello"},
		{app.Root, "apps hello now", app.ExitUsage, `apps does not take so many arguments: "now" is left over`, "its commands are create, destroy; see how: gitd help apps"},
		{app.Root, "config list hello", app.ExitUsage, `config does not take so many arguments: "hello" is left over`, "its commands are diff, export, get, rekey, set, unset; see how: gitd help config"},
		{app.Root, "ps:scale hello web=2", app.ExitUsage, `unknown command "ps:scale"`, "perhaps this is meant: gitd ps scale; see what there is: gitd help"},
		{app.Root, "logs:failed hello", app.ExitUsage, `unknown command "logs:failed"`, "perhaps this is meant: gitd logs; "},
		{app.Root, "restart hello", app.ExitUsage, `unknown command "restart"`, "perhaps this is meant: gitd ps restart; "},
		{app.Root, "run hello --timeout 5 -- ls", app.ExitUsage, `--timeout takes a time from 1s to 7 days, such as 168h, not "5"`, "give a time such as 90s or 15m"},
		{app.Root, "keys list --frobnicate", app.ExitUsage, `unknown flag: --frobnicate`, "see how: gitd help keys list"},
		{app.Root, "releases hello -n 99999999999999999999", app.ExitUsage, `-n takes a number from 1 to 1000, not "9{20}"`, "leave -n out"},
		{app.Root, "releases hello -n 0", app.ExitUsage, `-n takes a number from 1 to 1000, not "0"`, "leave -n out"},
		{app.Root, "logs hello -n many", app.ExitUsage, `-n takes a number from 1 to 1000000, not "many"`, "leave -n out"},
		{app.Root, "releases hello --before v0", app.ExitUsage, `"v0" is not a release`, "such as v3"},
		{app.Root, "rollback hello vv3", app.ExitUsage, `"vv3" is not a release`, "such as v3"},
		{app.Root, "logs hello --build 99999999999", app.ExitUsage, `"99999999999" is not a release`, "such as v3"},
		{app.Root, "releases Hello", app.ExitUsage, `invalid app name "Hello"`, "use a name like"},
		{app.Root, "releases nowhere", app.ExitNotFound, `app nowhere does not exist`, "the first push creates it"},
		{app.Root, "apps create hello", app.ExitConflict, `hello`, "choose another name"},
		{app.Root, "keys remove nobody", app.ExitNotFound, `nobody`, "gitd keys list"},
		{app.Root, "rollback hello", app.ExitUnavailable, `rollback needs the server, which is not running`, "start it: gitd serve"},
		{app.Root, "logs hello --build", app.ExitNotFound, `the log of v3 of hello is not kept`, "gitd releases hello"},
		{dev, "keys", app.ExitForbidden, `this needs an administrator's key, and "dev" is not one`, "use an administrator's key"},
		{dev, "keys:add other", app.ExitUsage, `unknown command "keys:add"`, "see what there is: gitd help"},
		{dev, "keys frobnicate", app.ExitForbidden, `this needs an administrator's key`, "use an administrator's key"},
		{dev, "keys list", app.ExitForbidden, `this needs an administrator's key`, "use an administrator's key"},
		{dev, "keys add other --admin", app.ExitForbidden, `this needs an administrator's key`, "use an administrator's key"},
		{dev, "keys remove root", app.ExitForbidden, `this needs an administrator's key`, "use an administrator's key"},
	} {
		status, out, errs := run(s, tt.by, tt.line, "")
		lines := strings.Split(strings.TrimSpace(errs), "\n")
		if status != tt.status || out != "" || len(lines) != 2 || !regexp.MustCompile(tt.what).MatchString(lines[0]) || !strings.Contains(lines[len(lines)-1], tt.after) {
			t.Errorf("%s: status %d, want %d:\n%s%s", tt.line, status, tt.status, out, errs)
		}
		if strings.Contains(errs, "strconv") || strings.Contains(errs, "accepts") {
			t.Errorf("%s: the library's words: %s", tt.line, errs)
		}
	}
	if status, out, _ := run(s, dev, "help", ""); status != 0 || strings.Contains(out, "keys") {
		t.Errorf("the help for an ordinary key: %d %s", status, out)
	}
}

// An error that is not made for people is an internal one: the log has its cause, root sees it, a key does not, and the help is not named.
func TestRun_InternalError(t *testing.T) {
	s, dev := ledger(t)
	logged := ""
	s.Log = func(format string, args ...any) { logged = fmt.Sprintf(format, args...) }
	s.Store.Close()
	for _, by := range []app.Caller{app.Root, dev} {
		logged = ""
		status, out, errs := run(s, by, "apps list", "")
		if status != app.ExitInternal || out != "" || !strings.Contains(errs, "internal error") || strings.Contains(errs, "gitd help") || !strings.Contains(logged, "database is closed") {
			t.Errorf("%d %s%s log: %s", status, out, errs, logged)
		}
		if got := strings.Contains(errs, "database is closed"); got != by.Local {
			t.Errorf("%s is told: %s", by.Name(), errs)
		}
	}
}

// An app and a release have several names, which mean the same.
func TestRun_SameByOtherNames(t *testing.T) {
	s, dev := ledger(t)
	want := ""
	for _, line := range []string{"releases hello --before v3", "releases /hello --before 3", "releases hello.git --before=v3", "releases --before v3 -- /hello.git"} {
		status, out, errs := run(s, dev, line, "")
		if want == "" {
			want = out
		}
		if status != 0 || out != want || !strings.Contains(out, "v2") || strings.Contains(out, "v3") {
			t.Errorf("%s: %d\n%s%s", line, status, out, errs)
		}
	}
}

// JSON has the same data, and nothing in it reaches a terminal.
func TestRun_JSON(t *testing.T) {
	s, dev := ledger(t)
	for _, line := range []string{"apps --json", "releases hello --json -n 2", "keys list --json"} {
		status, out, errs := run(s, map[bool]app.Caller{true: app.Root, false: dev}[strings.HasPrefix(line, "keys")], line, "")
		if status != 0 || !json.Valid([]byte(out)) || strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
			t.Errorf("%s: %d\n%s%s", line, status, out, errs)
		}
	}
	var page operation.ReleasePage
	_, out, _ := run(s, dev, "releases hello --json -n 2", "")
	if err := json.Unmarshal([]byte(out), &page); err != nil || page.App != "hello" || !page.More || len(page.Releases) != 2 || page.Releases[0].Version != 3 || page.Releases[0].Message != "caf\u00e9 \u202e\x1b[2J" {
		t.Errorf("%v: %+v", err, page)
	}
}

// Help lists each command under a subject.
func TestNew_AllHaveSubjects(t *testing.T) {
	for _, c := range New(nil, app.Root, nil, &bytes.Buffer{}, &bytes.Buffer{}).Commands() {
		if !c.Hidden && c.Name() != "help" && !slices.ContainsFunc(subjects, func(s subject) bool { return slices.Contains(s.commands, c.Name()) }) {
			t.Errorf("%s is under no subject", c.Name())
		}
	}
}

// Each command is declared as an operation, so that what it needs is known before it runs.
func TestNew_AllDeclared(t *testing.T) {
	tree := New(nil, app.Root, nil, &bytes.Buffer{}, &bytes.Buffer{})
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.RunE != nil && c.HasParent() && c.Name() != "version" && (!c.HasSubCommands() || tree.asks[c] != nil) { // not of those that only hold others
			d := tree.Asks(c, []string{"x"})
			if path := strings.TrimPrefix(c.CommandPath(), "gitd "); d.Name != path || d.Needs == operation.NeedsNothing || d.Verb == "" || d.Does == "" {
				t.Errorf("%s is declared as %+v", path, d)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(tree.Command)
	for line, want := range map[string]operation.Declaration{
		"apps":                        operation.Apps.Declaration,
		"apps --":                     operation.Apps.Declaration,
		"apps -- hello":               operation.ShowApp.Declaration,
		"apps create -- hello":        operation.CreateApp.Declaration,
		"logs --build=true -- hello":  operation.BuildLog.Declaration,
		"logs -- hello":               operation.Logs.Declaration,
		"deploy-key hello":            operation.ShowDeployKey.Declaration,
		"deploy-key --new -- hello":   operation.RenewDeployKey.Declaration,
		"keys add --admin=true -- me": operation.AddKey.Declaration,
		"version":                     {Name: "version"},
		"keys":                        {Name: "keys"},
	} {
		if d, err := Declared(strings.Fields(line)); err != nil || d != want {
			t.Errorf("%s: %+v, %v", line, d, err)
		}
	}
}

// The flags of run end where its command begins.
func TestSeparated(t *testing.T) {
	for line, want := range map[string]string{
		"run hello ls -la": "run hello -- ls -la",
		"run hello -e A=b --release v3 --detach ls --tty": "run hello -e A=b --release v3 --detach -- ls --tty",
		"run --type once hello --timeout=2h more --json":  "run --type once hello --timeout=2h -- more --json",
		"run -eA=b hello printenv -0 A":                   "run -eA=b hello -- printenv -0 A",
		"run hello -- ls -la":                             "run hello -- ls -la",
		"run --detach -- hello ls -la":                    "run --detach -- hello ls -la",
		"run hello --frobnicate ls":                       "run hello --frobnicate -- ls",
		"run hello":                                       "run hello",
		"run":                                             "run",
		"run hello -":                                     "run hello -- -",
		"jobs stop hello j1":                              "jobs stop hello j1",
	} {
		tree := New(nil, app.Root, nil, nil, nil)
		if got := strings.Join(tree.Separated(strings.Fields(line)), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
