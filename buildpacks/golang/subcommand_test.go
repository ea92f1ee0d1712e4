package golang

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestSubcommand: a program that prints its help where it gets no argument is started by the subcommand that serves.
func TestSubcommand(t *testing.T) {
	const mod = "module example.com/tool\n\ngo 1.25\n\nrequire github.com/spf13/cobra v1.8.1\n"
	const main = "package main\n\nimport \"example.com/tool/cmd\"\n\nfunc main() { cmd.Execute() }\n"
	cobra := func(text string) string {
		return "package cmd\n\nimport \"github.com/spf13/cobra\"\n\n" + text + "\nfunc Execute() {}\n"
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"cobra":                         {map[string]string{"main.go": main, "cmd/root.go": cobra("var root = &cobra.Command{Use: \"tool\", Short: \"x\"}\n"), "cmd/serve.go": "package cmd\n\nimport \"github.com/spf13/cobra\"\n\nvar serve = &cobra.Command{Use: \"serve [flags]\", RunE: f}\n"}, "serve"},
		"the root serves":               {map[string]string{"main.go": main, "cmd/root.go": cobra("var root = &cobra.Command{Use: \"tool\", Run: f}\nvar serve = &cobra.Command{Use: \"serve\", Run: f}\n")}, ""},
		"no such command":               {map[string]string{"main.go": main, "cmd/root.go": cobra("var list = &cobra.Command{Use: \"list\", Run: f}\n")}, ""},
		"the Procfile says it":          {map[string]string{"Procfile": "web: tool start\n", "main.go": main, "cmd/root.go": cobra("var serve = &cobra.Command{Use: \"serve\", Run: f}\n")}, ""},
		"one that does nothing itself":  {map[string]string{"main.go": main, "cmd/root.go": cobra("var serve = &cobra.Command{Use: \"server\"}\nvar start = &cobra.Command{Use: \"start\", Run: f}\n")}, "start"},
		"urfave":                        {map[string]string{"main.go": "package main\n\nimport \"github.com/urfave/cli/v2\"\n\nfunc main() {\n\tapp := &cli.App{Name: \"shop\", Commands: []*cli.Command{{Name: \"server\", Action: f}, {Name: \"migrate\", Action: f}}}\n\tapp.Run(nil)\n}\n"}, "server"},
		"urfave, whose root serves":     {map[string]string{"main.go": "package main\n\nimport \"github.com/urfave/cli/v2\"\n\nfunc main() {\n\tapp := &cli.App{Name: \"shop\", Action: f, Commands: []*cli.Command{{Name: \"server\", Action: f}}}\n\tapp.Run(nil)\n}\n"}, ""},
		"a struct of the app's":         {map[string]string{"main.go": "package main\n\ntype c struct{ Use string }\n\nvar x = c{Use: \"serve\"}\n\nfunc main() {}\n"}, ""},
		"a file that is no Go at all":   {map[string]string{"main.go": main, "cmd/root.go": cobra("var serve = &cobra.Command{Use: \"serve\", Run: f"), "cmd/b.go": "package cmd\n"}, ""},
		"a package that is not reached": {map[string]string{"main.go": "package main\n\nfunc main() {}\n", "tools/x.go": "package tools\n\nimport \"github.com/spf13/cobra\"\n\nvar serve = &cobra.Command{Use: \"serve\", Run: f}\n"}, ""},
	} {
		tt.files["go.mod"] = mod
		app := bptest.Tree(t, tt.files)
		m, err := readModule(app)
		if err != nil {
			t.Fatal(err)
		}
		if got := subcommand(app, m, target{dir: ".", name: "tool"}); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
