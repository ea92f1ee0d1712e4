package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf16"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

// asJSON adds the flag that has a command print its data as JSON.
func asJSON(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

// printJSON writes data on lines of their own. All of it is ASCII: nothing that an app or a push has put into it does anything to a terminal.
func printJSON(w io.Writer, data any) error {
	text, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// show prints what an operation returned: as JSON where that is asked for, else by print.
func show[T any](cmd *cobra.Command, inJSON bool, data T, err error, print func(io.Writer, T) error) error {
	switch {
	case err != nil:
		return err
	case inJSON:
		return printJSON(cmd.OutOrStdout(), data)
	}
	return print(cmd.OutOrStdout(), data)
}

// shown makes the command of an operation on an app that shows what the operation returns.
func shown[T any](c *session, o operation.Operation[operation.OfApp, T], print func(io.Writer, T) error) *cobra.Command {
	cmd := c.declare(o.Declaration, "", nil)
	inJSON := asJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		data, err := o.Do(cmd.Context(), c.services, c.caller, operation.OfApp{App: args[0]})
		return show(cmd, *inJSON, data, err, print)
	}
	return cmd
}

func table(out io.Writer, head ...any) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row(w, head...)
	return w
}

func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		s := fmt.Sprint(cell)
		if s == "" {
			s = "-"
		}
		fmt.Fprint(w, strings.ReplaceAll(app.Plain(s), "\t", " ")) // a tab would begin another cell
	}
	fmt.Fprintln(w)
}
