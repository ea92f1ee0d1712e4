package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/control"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/cobra"
)

// completion writes what makes a shell complete this program's commands.
func completion(root *cobra.Command) *cobra.Command {
	write := map[string]func(io.Writer) error{
		"bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":  root.GenZshCompletion,
		"fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	}
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Write what makes a shell complete commands, flags and the names of apps", Args: command.Takes("SHELL"),
		Long: "Write what makes a shell complete commands, flags and the names of apps.\n\nbash: gitd completion bash > /etc/bash_completion.d/gitd\n" +
			"zsh:  gitd completion zsh > \"${fpath[1]}/_gitd\"\nfish: gitd completion fish > ~/.config/fish/completions/gitd.fish",
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(_ *cobra.Command, args []string) error {
			w := write[args[0]]
			if w == nil {
				return app.Errorf(app.CodeInvalidInput, "use bash, zsh or fish", "there is no completion for the shell %q", app.Clip(args[0], 60))
			}
			return w(os.Stdout)
		},
	}
}

// completesApps has a command's first argument, where it is an app, completed by those of the server that runs.
func completesApps(c *cobra.Command, data *string) {
	if words := strings.Fields(c.Use); len(words) < 2 || !strings.HasPrefix(strings.TrimPrefix(words[1], "["), "APP") {
		return
	}
	c.ValidArgsFunction = func(cmd *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(before) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return appNames(cmd, *data), cobra.ShellCompDirectiveNoFileComp
	}
}

func appNames(cmd *cobra.Command, data string) []string {
	data, err := dataDir(data)
	if err != nil {
		return nil
	}
	var out bytes.Buffer
	if code, err := control.Call(cmd.Context(), filepath.Join(data, server.Socket), []string{"apps", "--json"}, nil, &out, io.Discard); err != nil || code != app.ExitOK {
		return nil
	}
	var list []struct{ Name string }
	if json.Unmarshal(out.Bytes(), &list) != nil {
		return nil
	}
	var names []string
	for _, a := range list {
		names = append(names, a.Name)
	}
	return names
}
