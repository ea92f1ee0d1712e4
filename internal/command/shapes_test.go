package command

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

// shapes are the commands that print JSON, with what does it.
var shapes = []struct {
	line string
	do   any
}{
	{"apps", operation.Apps.Do}, {"apps APP", operation.ShowApp.Do}, {"previews APP", operation.Previews.Do},
	{"config APP", operation.Config.Do}, {"config get APP NAME", operation.GetConfig.Do}, {"config diff APP vN vM", operation.DiffConfig.Do},
	{"releases APP", operation.Releases.Do}, {"release APP vN, wait APP", operation.ShowRelease.Do}, {"rebase --all, rebase APP", operation.RebaseAll.Do}, {"abort APP", operation.Abort.Do},
	{"traffic APP", operation.Traffic.Do}, {"maintenance APP", operation.Maintenance.Do},
	{"ps APP", operation.PS.Do}, {"jobs APP", operation.Jobs.Do}, {"jobs show APP JOB", operation.ShowJob.Do}, {"schedules APP", operation.Schedules.Do},
	{"functions", operation.Functions.Do}, {"functions invoke APP", operation.Invoke.Do},
	{"domains APP, domains list APP", operation.Domains.Do},
	{"events send", operation.Send.Do}, {"events list, events tail, events dead APP", operation.Events.Do}, {"events show EVENT", operation.ShowEvent.Do},
	{"events retry APP, events discard APP, events replay APP TRIGGER, brokers retry NAME, brokers discard NAME", operation.RetryDead.Do}, {"events token list", operation.EventTokens.Do}, {"events token create NAME", operation.CreateEventToken.Do},
	{"triggers APP", operation.Triggers.Do}, {"webhooks APP", operation.Webhooks.Do}, {"brokers", operation.Brokers.Do},
	{"keys list", operation.Keys.Do},
}

const shapesHead = `# JSON

What commands print with --json, over SSH and on the machine. It is one value in ASCII. Names keep their meaning and type; new ones may come, so read what you know and leave the rest.
Times are RFC 3339 in UTC or with an offset. What is marked *optional* is left out where there is nothing to say. A command that fails prints no JSON, but for ` + "`wait`" + `, and tells why on
standard error; its [exit status](operations.md#exit-statuses) says what kind of failure it was.

`

// The shapes in docs/json.md are those that commands print. GITD_TEST_UPDATE=1 writes them.
func TestShapes(t *testing.T) {
	comments := commentsOf(t, "operation", "app", "release", "domain")
	var b strings.Builder
	b.WriteString(shapesHead)
	for i, s := range shapes {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "## %s\n\n| name | type | |\n|---|---|---|\n", s.line)
		for _, row := range rows("", reflect.TypeOf(s.do).Out(0), false, "", comments) {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", row[0], row[1], row[2])
		}
	}
	const file = "../../docs/json.md"
	if os.Getenv("GITD_TEST_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	had, err := os.ReadFile(file)
	if err != nil || string(had) != b.String() {
		t.Errorf("%s is not what commands print (%v): GITD_TEST_UPDATE=1 go test ./internal/command writes it; a name that scripts read must not go away", file, err)
	}
}

// Every command with --json has its shape written down.
func TestShapes_All(t *testing.T) {
	tree := New(nil, app.Root, nil, nil, nil)
	known := map[string]bool{}
	for _, s := range shapes {
		for one := range strings.SplitSeq(s.line, ", ") {
			var words []string
			for _, w := range strings.Fields(one) {
				if w != strings.ToUpper(w) && !strings.HasPrefix(w, "v") && !strings.HasPrefix(w, "-") {
					words = append(words, w)
				}
			}
			known[strings.Join(words, " ")] = true
		}
	}
	for _, c := range all(tree.Command) {
		if path := strings.TrimPrefix(c.CommandPath(), "gitd "); c.Flags().Lookup("json") != nil && !known[path] {
			t.Errorf("%s --json: its shape is missing in shapes", path)
		}
	}
}

// all are the commands below c.
func all(c *cobra.Command) []*cobra.Command {
	list := c.Commands()
	for _, sub := range c.Commands() {
		list = append(list, all(sub)...)
	}
	return list
}

var timeType, rawType = reflect.TypeFor[time.Time](), reflect.TypeFor[json.RawMessage]()

// rows are the values of a type, by their paths, with their types and what their fields' comments say.
func rows(path string, of reflect.Type, optional bool, comment string, comments map[string]string) [][3]string {
	if of.Kind() == reflect.Pointer {
		of, optional = of.Elem(), true
	}
	row := func(kind string) [][3]string {
		if path == "" {
			return nil
		}
		if optional {
			kind += ", *optional*"
		}
		return [][3]string{{path, kind, strings.ReplaceAll(comment, "|", `\|`)}}
	}
	switch {
	case of == timeType:
		return row("time")
	case of == rawType:
		return row("object or array")
	case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct:
		return append(row("array"), rows(path+"[]", of.Elem(), false, "", comments)...)
	case of.Kind() == reflect.Slice:
		return row("array of " + jsonKind(of.Elem()) + "s")
	case of.Kind() == reflect.Map:
		return row("object of " + jsonKind(of.Elem()) + "s")
	case of.Kind() != reflect.Struct:
		return row(jsonKind(of))
	}
	if path == "" || strings.HasSuffix(path, "[]") {
		return fieldRows(path, of, comments)
	}
	return append(row("object"), fieldRows(path, of, comments)...)
}

func fieldRows(path string, of reflect.Type, comments map[string]string) (list [][3]string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			list = append(list, fieldRows(path, f.Type, comments)...)
		default:
			list = append(list, rows(strings.TrimPrefix(path+"."+name, "."), f.Type, strings.Contains(rest, "omitempty"), comments[of.String()+"."+f.Name], comments)...)
		}
	}
	return list
}

func jsonKind(of reflect.Type) string {
	switch of.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

// commentsOf returns the comments behind the fields of packages beside this one: "app.Variable.Name" → "…".
func commentsOf(t *testing.T, packages ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range packages {
		files, err := filepath.Glob(filepath.Join("..", p, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") }) {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				s, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if fields, ok := s.Type.(*ast.StructType); ok {
					for _, f := range fields.Fields.List {
						for _, name := range f.Names {
							all[p+"."+s.Name.Name+"."+name.Name] = strings.TrimSpace(f.Comment.Text())
						}
					}
				}
				return true
			})
		}
	}
	return all
}
