package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/spf13/cobra"
)

func (c *session) config() *cobra.Command {
	show := false
	config := c.declare(operation.Config.Declaration, "APP [--show]", nil)
	config.Long = "The configuration of an app: variables that its processes have in their environment, kept sealed.\n\n" +
		"A change is a release: the image that is live with the new configuration goes through the same gate as a push. If it does not go live, nothing has changed.\n\n" +
		"On the machine, gitd config without APP prints the configuration of the server."
	inJSON := asJSON(config)
	config.Flags().BoolVar(&show, "show", false, "with the values; this takes the right to change them")
	config.RunE = func(cmd *cobra.Command, args []string) error {
		o := operation.Config
		if show {
			o = operation.ConfigValues
		}
		shown, err := o.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		if err != nil {
			return err
		}
		if *inJSON {
			return printJSON(cmd.OutOrStdout(), shown)
		}
		return printConfig(cmd.OutOrStdout(), shown, show)
	}
	c.asks(config, func([]string) operation.Declaration {
		if show {
			return operation.ConfigValues.Declaration
		}
		return operation.Config.Declaration
	})
	config.AddCommand(c.setConfig(), c.unsetConfig(), c.getConfig(), c.exportConfig(), c.diffConfig(), c.rekeyConfig())
	return config
}

func printConfig(out io.Writer, shown operation.AppConfig, values bool) error {
	if len(shown.Variables) == 0 {
		fmt.Fprintf(out, "%s has no configuration. Set some: gitd config set %s NAME=VALUE\n", shown.App, shown.App)
		printFiles(out, shown)
		return nil
	}
	head := []any{"NAME", "DIGEST", "SET", "BY", "STATE"}
	if values {
		head = append(head, "VALUE")
	}
	w := table(out, head...)
	waits := false
	for _, v := range shown.Variables {
		state := v.State
		waits = waits || state != "live"
		if v.Build {
			state += ", build"
		}
		if v.Preview {
			state += ", preview"
		}
		if v.From != "" {
			state += ", of " + v.From
		}
		cells := []any{v.Name, v.Digest, v.Set.UTC().Format(time.DateTime), v.By, state}
		if values {
			cells = append(cells, valueCell(v.Value))
		}
		row(w, cells...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printFiles(out, shown)
	if waits && shown.Release > 0 {
		fmt.Fprintf(out, "\nwhat is not live waits for the next release: a push, a change, or gitd redeploy %s\n", shown.App)
	}
	if shown.Lost {
		fmt.Fprintf(out, "\nthe key of these values is lost: gitd config %s --show says more\n", shown.App)
	}
	return nil
}

// printFiles names what the app's own files set.
func printFiles(out io.Writer, shown operation.AppConfig) {
	if len(shown.Files) == 0 {
		return
	}
	var all []string
	for _, f := range shown.Files {
		if f.Value != nil {
			f.Name += "=" + valueCell(f.Value)
		}
		all = append(all, f.Name)
	}
	fmt.Fprintf(out, "\nthe app's own files set: %s\n", strings.Join(all, " "))
}

// valueCell is a value in a table: in quotes where it is not one line of plain characters.
func valueCell(v *string) string {
	switch {
	case v == nil:
		return ""
	case *v == "" || app.Plain(*v) != *v || strings.TrimSpace(*v) != *v || strings.ContainsAny(*v, "\t\""):
		return strconv.Quote(*v)
	}
	return *v
}

// changeFlags adds the flags of every change of configuration.
func changeFlags(cmd *cobra.Command, in *operation.ChangeConfig) {
	cmd.Flags().BoolVar(&in.Stage, "stage", false, "keep the change for the next release")
	cmd.Flags().IntVar(&in.IfVersion, "if-version", 0, "only if this is still the current version (\"configuration\" of config APP --json)")
}

func (c *session) setConfig() *cobra.Command {
	var in operation.ChangeConfig
	var build, preview bool
	file := &fileValue{}
	set := c.declare(operation.SetConfig.Declaration, "APP NAME=VALUE … [--file FILE] [--stage]", nil)
	set.Long = "Set variables of an app's configuration, as one release.\n\n" +
		"NAME=- takes the value from standard input, byte by byte: for values of several lines, and for secrets that should not be on a command line.\n" +
		"--file reads a .env file; over SSH it comes on standard input: --file -.\n" +
		"With --build or --preview, NAME alone keeps its value, and changes only who sees it."
	set.Args = atLeast(1, "APP")
	changeFlags(set, &in)
	set.Flags().BoolVar(&build, "build", false, "builds see these variables as well; --build=false takes that back")
	set.Flags().BoolVar(&preview, "preview", false, "previews of the app get these variables as well; --preview=false takes that back")
	set.Flags().Var(file, "file", "a .env file; - for standard input")
	set.Flags().BoolVar(&in.Reset, "reset", false, "what is set is all of the configuration: other variables are removed")
	set.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cmd.Flags().Changed("build") {
			in.Build = &build
		}
		if cmd.Flags().Changed("preview") {
			in.Preview = &preview
		}
		words := args[1:]
		if in.Build != nil || in.Preview != nil {
			words, in.Mark = apart(words)
		}
		if in.Set, err = c.readVariables(cmd.OutOrStdout(), words, file.name); err != nil {
			return err
		}
		if len(in.Set)+len(in.Mark) == 0 {
			return app.Errorf(app.CodeInvalidInput, "give NAME=VALUE, NAME=- or --file FILE", "there is nothing to set")
		}
		return c.changeConfig(cmd, args[0], operation.SetConfig, &in)
	}
	c.asks(set, func(args []string) operation.Declaration {
		d := operation.SetConfig.Declaration
		d.Stdin = file.name == "-"
		for _, a := range args {
			d.Stdin = d.Stdin || strings.HasSuffix(a, "=-")
		}
		return d
	})
	return set
}

// apart returns the words with a value, and those without.
func apart(words []string) (with, without []string) {
	for _, w := range words {
		if strings.Contains(w, "=") {
			with = append(with, w)
		} else {
			without = append(without, w)
		}
	}
	return with, without
}

// readVariables reads NAME=VALUE, NAME=- and a file.
func (c *session) readVariables(out io.Writer, words []string, file string) (secret.Values, error) {
	values := secret.Values{}
	if file != "" {
		text, err := c.readFile(file)
		if err != nil {
			return nil, err
		}
		if values, err = secret.ParseDotenv(text); err != nil {
			return nil, err
		}
	}
	stdin := file == "-"
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok { // it may be a value: it is not repeated
			return nil, app.Errorf(app.CodeInvalidInput, "give NAME=VALUE, in quotes where the value has spaces; over SSH in two pairs: \"NAME='VALUE'\"", "an argument has no =: %s that begins with %q", app.Count(len(w), "character"), app.Clip(app.Plain(w), 2))
		}
		if err := secret.CheckName(name); err != nil {
			return nil, err
		}
		values[name] = []byte(value)
		if value != "-" {
			continue
		}
		if stdin {
			return nil, app.Errorf(app.CodeInvalidInput, "give the others in a file: --file, or one after the other with --stage", "standard input has room for one value")
		}
		stdin = true
		b, err := operation.ReadConfigInput(c.in)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(string(b), "\n") && strings.Count(string(b), "\n") == 1 {
			fmt.Fprintf(out, "%s ends with a line feed, as it was given (printf %%s gives none)\n", name)
		}
		values[name] = b
	}
	return values, nil
}

// readFile reads standard input, or, for root on the machine, a file.
func (c *session) readFile(name string) ([]byte, error) {
	if name == "-" {
		return operation.ReadConfigInput(c.in)
	}
	if !c.caller.Local {
		return nil, app.Errorf(app.CodeInvalidInput, "send it on standard input: ssh … config set APP --file - < .env", "over SSH there is no file to read")
	}
	return readLocal(name, "name a .env file")
}

// readLocal reads a file of this machine. next is what to do where that fails.
func readLocal(name, next string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	var b []byte
	if err == nil {
		var f *os.File
		if f, err = os.Open(name); err == nil {
			defer f.Close()
			return operation.ReadConfigInput(f)
		}
	}
	return b, app.Errorf(app.CodeInvalidInput, next, "%s cannot be read: %w", app.Plain(name), err)
}

func (c *session) unsetConfig() *cobra.Command {
	var in operation.ChangeConfig
	unset := c.declare(operation.UnsetConfig.Declaration, "APP NAME … [--stage]", nil)
	unset.Args = atLeast(2, "APP", "NAME")
	changeFlags(unset, &in)
	unset.RunE = func(cmd *cobra.Command, args []string) error {
		in.Unset = args[1:]
		return c.changeConfig(cmd, args[0], operation.UnsetConfig, &in)
	}
	return unset
}

// changeConfig runs a change, and says what came of it.
func (c *session) changeConfig(cmd *cobra.Command, name string, o operation.Operation[operation.ChangeConfig, operation.Configured], in *operation.ChangeConfig) error {
	in.App, in.Log = name, app.NewLog(cmd.OutOrStdout())
	done, err := o.Do(cmd.Context(), c.services, c.caller, *in)
	switch {
	case err != nil:
		return err
	case !done.Changed:
		in.Log.Detail("nothing to change: the configuration is like that already")
	case done.Staged:
		in.Log.Detail("kept for the next release of %s: configuration %d", name, done.Version)
	}
	return nil
}

func (c *session) getConfig() *cobra.Command {
	get := c.declare(operation.GetConfig.Declaration, "", nil)
	get.Long = "Print the value of one variable of an app's configuration, with a line feed behind it: the current one, also where it waits for the next release.\n\n" +
		"This takes the right to change it."
	inJSON := asJSON(get)
	get.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := operation.GetConfig.Do(cmd.Context(), c.services, c.caller, operation.OneVariable{OfApp: operation.OfApp{App: args[0]}, Name: args[1]})
		if err != nil {
			return err
		}
		if *inJSON {
			return printJSON(cmd.OutOrStdout(), v)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), *v.Value)
		return err
	}
	return get
}

func (c *session) exportConfig() *cobra.Command {
	return c.declare(operation.ExportConfig.Declaration, "", func(cmd *cobra.Command, args []string) error {
		values, err := operation.ExportConfig.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		if err == nil {
			_, err = cmd.OutOrStdout().Write(values.Dotenv())
		}
		return err
	})
}

func (c *session) diffConfig() *cobra.Command {
	diff := c.declare(operation.DiffConfig.Declaration, "", nil)
	inJSON := asJSON(diff)
	diff.RunE = func(cmd *cobra.Command, args []string) (err error) {
		in := operation.TwoReleases{OfApp: operation.OfApp{App: args[0]}}
		if in.From, err = parseVersion(args[1]); err != nil {
			return err
		}
		if in.To, err = parseVersion(args[2]); err != nil {
			return err
		}
		list, err := operation.DiffConfig.Do(cmd.Context(), c.services, c.caller, in)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		switch {
		case *inJSON:
			return printJSON(out, list)
		case len(list) == 0:
			fmt.Fprintf(out, "v%d and v%d have the same configuration.\n", in.From, in.To)
			return nil
		}
		w := table(out, "NAME", fmt.Sprintf("v%d", in.From), fmt.Sprintf("v%d", in.To), "SET", "BY")
		for _, d := range list {
			row(w, d.Name, d.From, d.To, d.Set.UTC().Format(time.DateTime), d.By)
		}
		return w.Flush()
	}
	return diff
}

func (c *session) rekeyConfig() *cobra.Command {
	return c.declare(operation.RekeyConfig.Declaration, "", func(cmd *cobra.Command, _ []string) error {
		done, err := operation.RekeyConfig.Do(cmd.Context(), c.services, c.caller, operation.OfServer{})
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s sealed under a new key in %s. Backups from before need the old one.\n", app.Count(done.Sealed, "configuration"), c.services.Config.File())
		if done.Lost > 0 {
			fmt.Fprintf(out, "%s could not be read: the key is not there.\n", app.Count(done.Lost, "configuration"))
		}
		return nil
	})
}
