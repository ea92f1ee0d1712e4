package command

import (
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/domain"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) domains() *cobra.Command {
	cmd := shown(c, operation.Domains, printDomains)
	cmd.AddCommand(shown(c, operation.DomainList, printDomains), c.addDomain(), c.removeDomain())
	return cmd
}

func (c *session) addDomain() *cobra.Command {
	var in operation.AddDomain
	add := c.declare(operation.DomainAdd.Declaration, "APP NAME [--no-check]", func(cmd *cobra.Command, args []string) error {
		in.App, in.Name = args[0], args[1]
		d, err := operation.DomainAdd.Do(cmd.Context(), c.services, c.caller, in)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s leads to %s.\n", d.Name, d.App)
		return err
	})
	add.Long = "Give an app a domain of your own. Its DNS must lead to this server: if it does not, the record that is missing is printed, and nothing changes.\n\n" +
		"A domain is one app's. It goes with the app, whichever release is live, and is removed with it."
	add.Flags().BoolVar(&in.NoCheck, "no-check", false, "wherever the DNS leads now: for a domain that is moving here, or is behind a proxy")
	return add
}

func (c *session) removeDomain() *cobra.Command {
	return c.declare(operation.DomainRemove.Declaration, "", func(cmd *cobra.Command, args []string) error {
		_, err := operation.DomainRemove.Do(cmd.Context(), c.services, c.caller, operation.OneDomain{OfApp: operation.OfApp{App: args[0]}, Name: args[1]})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "Removed.")
		return err
	})
}

func printDomains(out io.Writer, list []domain.Domain) error {
	w := table(out, "DOMAIN", "ADDED (UTC)", "BY")
	for _, d := range list {
		row(w, d.Name, d.Added.UTC().Format(time.DateTime), d.By)
	}
	return w.Flush()
}
