package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/tools/txtar"
)

// functionRow is a contract in a language, and what is pushed for it: folders of testdata/functions/sources.txtar or examples ("functions/go-lambda"), one laid over the
// other. Where the signature decides whether requests or events are taken, event is another push of the same app.
type functionRow struct {
	name, contract, language string // contract and language are those that gitd functions lists
	http, event              string
	answers                  string // to GET /?name=you; "" is hello you
}

var functionRows = []functionRow{
	{"framework go", "functions-framework", "go", "functions/go-framework framework-go", "functions/go-framework", ""},
	{"framework nodejs", "functions-framework", "nodejs", "functions/nodejs-framework", "functions/nodejs-framework framework-nodejs-event", ""},
	{"framework python", "functions-framework", "python", "functions/python-framework", "functions/python-framework framework-python-event", ""},
	{"knative go", "knative", "go", "knative-go", "functions/go-knative", ""},
	{"knative nodejs", "knative", "nodejs", "knative-nodejs", "", ""},
	{"knative typescript", "knative", "nodejs", "knative-typescript", "", ""},
	{"knative python", "knative", "python", "functions/python-knative", "knative-python-event", "hello world from Knative"},
	{"lambda nodejs", "lambda", "nodejs", "lambda-nodejs", "", ""},
	{"lambda python", "lambda", "python", "lambda-python", "", ""},
	{"lambda go", "lambda", "go", "functions/go-lambda lambda-go", "", ""},
	{"lambda program", "lambda", "custom", "lambda-program", "", ""},
	{"file javascript", "functions-framework", "nodejs", "file-javascript", "functions/nodejs-event", ""},
	{"file typescript", "functions-framework", "nodejs", "functions/typescript", "file-typescript-event", ""},
	{"file python", "functions-framework", "python", "file-python", "functions/python-event", ""},
	{"file go", "functions-framework", "go", "functions/go-handler", "file-go-event", "Hello, you!"},
}

// cmdFunctions pushes the rows, or those that are named, and calls each by HTTP and by the client of CloudEvents' SDK in both content modes. It prints what became of each.
func cmdFunctions(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("functions", flag.ContinueOnError)
	only := fs.String("only", "", "names of rows, with commas")
	ts.Check(fs.Parse(args))
	archive, err := txtar.ParseFile(filepath.Join(root, "test", "e2e", "testdata", "functions", "sources.txtar"))
	ts.Check(err)
	var table bytes.Buffer
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FUNCTION\tCONTRACT\tHTTP\tBINARY\tSTRUCTURED\tTOOK")
	bad := 0
	for _, r := range functionRows {
		if *only != "" && !strings.Contains(","+*only+",", ","+r.name+",") {
			continue
		}
		began := time.Now()
		c := functionCall{w: w, ts: ts, row: r, app: strings.ReplaceAll(r.name, " ", "-"), archive: archive}
		cells, why := c.all()
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.0f s\n", r.name, r.contract, strings.Join(cells, "\t"), time.Since(began).Seconds())
		if why != "" {
			bad++
			fmt.Fprintf(os.Stderr, "e2e: functions: %s: %s\n", r.name, why)
		}
	}
	tw.Flush()
	fmt.Fprint(os.Stderr, table.String())
	if bad > 0 {
		return output{stdout: table.String()}, fmt.Errorf("%d failed", bad)
	}
	return output{stdout: table.String()}, nil
}

// functionCall is one row under test.
type functionCall struct {
	w       *world
	ts      *testscript.TestScript
	row     functionRow
	app     string
	archive *txtar.Archive
}

// all are the cells of the row, and what failed.
func (c *functionCall) all() (cells []string, why string) {
	cells = []string{"-", "-", "-"}
	tell := func(cell int, err error) {
		cells[cell] = "ok"
		if err != nil {
			cells[cell], why = "FAILED", err.Error()
		}
	}
	if err := c.push(c.row.http); err != nil {
		tell(0, err)
		return cells, why
	}
	tell(0, c.http())
	if c.row.event != "" {
		if err := c.push(c.row.event); err != nil {
			tell(1, err)
			return cells, why
		}
	}
	tell(1, c.event("binary"))
	tell(2, c.event("structured"))
	return cells, why
}

// push makes the folders what the app's repository has, and pushes it.
func (c *functionCall) push(folders string) error {
	dir := c.ts.MkAbs(c.app)
	if entries, err := os.ReadDir(dir); err == nil {
		for _, e := range entries {
			if e.Name() != ".git" {
				c.ts.Check(os.RemoveAll(filepath.Join(dir, e.Name())))
			}
		}
	}
	for _, folder := range strings.Fields(folders) {
		c.ts.Check(c.lay(folder, dir))
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		if o, err := cmdCommit(c.w, c.ts, []string{c.app}); err != nil {
			return fmt.Errorf("commit: %w: %s", err, o.stderr)
		}
	} else if _, err := cmdApp(c.w, c.ts, []string{c.app}); err != nil {
		return err
	}
	o, err := cmdGit(c.w, c.ts, []string{"-C", c.app, "push", "platform", "main"})
	if err != nil {
		return fmt.Errorf("push of %s: %w\n%s", folders, err, o.stderr)
	}
	var listed []struct{ App, Contract, Language string }
	if err := askJSON(c.w, c.ts, &listed, "functions", "--json"); err != nil {
		return err
	}
	for _, f := range listed {
		if f.App == c.app && f.Contract == c.row.contract && f.Language == c.row.language {
			return nil
		}
	}
	return fmt.Errorf("gitd functions does not list it: %+v\n%s", listed, o.stderr)
}

// lay copies a folder of the examples, or of the archive, over another one.
func (c *functionCall) lay(folder, dir string) error {
	if strings.HasPrefix(folder, "functions/") {
		return copyOver(filepath.Join(root, "examples", folder), dir)
	}
	for _, f := range c.archive.Files {
		name, ok := strings.CutPrefix(f.Name, folder+"/")
		if !ok {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			return err
		}
	}
	source := filepath.Join(dir, "bootstrap.go")
	if _, err := os.Stat(source); err != nil {
		return nil
	}
	// What is pushed is the program alone.
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bootstrap"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return os.Remove(source)
}

// copyOver copies the files of a folder over those of another one.
func copyOver(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// http calls the function by a request.
func (c *functionCall) http() error {
	want := c.row.answers
	if want == "" {
		want = "hello you"
	}
	o, err := cmdHTTP(c.w, c.ts, []string{"-host", c.app, "/?name=you"})
	if err == nil && !strings.HasPrefix(o.stdout, "HTTP 200\n"+want) {
		err = fmt.Errorf("GET /?name=you: %s", o.stdout)
	}
	return err
}

// event sends it an event, whose id and text it tells in its answer or its log.
func (c *functionCall) event(mode string) error {
	id, text := "e-"+mode, "text of "+mode
	o, err := cmdEvent(c.w, c.ts, []string{"-host", c.app, "-mode", mode, id, text})
	if err != nil || !strings.HasPrefix(o.stdout, "HTTP 20") {
		return fmt.Errorf("%s: %w: %s%s", mode, err, o.stdout, o.stderr)
	}
	told := regexp.MustCompile(regexp.QuoteMeta(id) + `(?s:.*)` + regexp.QuoteMeta(text))
	if told.MatchString(o.stdout) {
		return nil
	}
	var log output
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if log, err = cmdGitd(c.w, c.ts, []string{"logs", c.app}); err == nil && told.MatchString(log.stdout) {
			return nil
		}
	}
	return fmt.Errorf("%s: neither answer nor log have the event: %s\n%s", mode, o.stdout, log.stdout)
}
