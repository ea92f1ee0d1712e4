package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) keys() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "Register, list and remove SSH keys", Hidden: !c.caller.Local && !c.caller.Key.Admin}
	Group(keys)
	known := keys.Args
	keys.Args = cobra.ArbitraryArgs
	keys.RunE = func(cmd *cobra.Command, args []string) error { // whether keys knows a word is told to those alone who may use it
		if c.services != nil {
			if err := operation.Keys.Allow(cmd.Context(), c.services, c.caller, ""); err != nil {
				return err
			}
		}
		if err := known(cmd, args); err != nil {
			return err
		}
		return cmd.Help()
	}
	list := c.declare(operation.Keys.Declaration, "", nil)
	inJSON := asJSON(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := operation.Keys.Do(cmd.Context(), c.services, c.caller, operation.OfServer{})
		return show(cmd, *inJSON, all, err, printKeys)
	}
	keys.AddCommand(c.addKey(), list, c.declare(operation.RemoveKey.Declaration, "", func(cmd *cobra.Command, args []string) error {
		_, err := operation.RemoveKey.Do(cmd.Context(), c.services, c.caller, operation.NamedKey{Name: args[0]})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Removed key %s.\n", args[0])
		}
		return err
	}))
	return keys
}

func (c *session) addKey() *cobra.Command {
	var in operation.NewKey
	add := c.declare(operation.AddKey.Declaration, "NAME [--admin | --app APP …] < KEY.pub", func(cmd *cobra.Command, args []string) error {
		in.Name, in.Public = args[0], c.in
		key, err := operation.AddKey.Do(cmd.Context(), c.services, c.caller, in)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Added key %s (%s).\n", key.Name, key.Fingerprint)
		}
		return err
	})
	add.Long = add.Short + ".\n\nAn admin may do everything. A key with --app may read and push those apps. " +
		"Any other key may create apps, and do everything with those it created."
	add.Flags().BoolVar(&in.Admin, "admin", false, "may do everything")
	add.Flags().StringArrayVar(&in.Apps, "app", nil, "may read and push this app, and nothing else (repeatable)")
	return add
}

func printKeys(out io.Writer, all []operation.Key) error {
	w := table(out, "NAME", "FINGERPRINT", "TYPE", "RIGHTS")
	for _, k := range all {
		rights := "its own apps"
		if k.Admin {
			rights = "admin"
		} else if len(k.Apps) > 0 {
			rights = strings.Join(k.Apps, ", ")
		}
		row(w, k.Name, k.Fingerprint, k.Type, rights)
	}
	return w.Flush()
}
