package command

import (
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/domain"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) domains() *cobra.Command {
	cmd := shown(c, operation.Domains, printDomains)
	cmd.AddCommand(shown(c, operation.DomainList, printDomains), c.addDomain(), c.checkDomain(), c.removeDomain())
	return cmd
}

func (c *session) addDomain() *cobra.Command {
	var in operation.AddDomain
	certificate, key := &fileValue{}, &fileValue{}
	add := c.declare(operation.DomainAdd.Declaration, "APP NAME [--certificate FILE --key FILE] [--no-check]", func(cmd *cobra.Command, args []string) (err error) {
		in.App, in.Name = args[0], args[1]
		if in.Certificate = certificate.name != ""; in.Certificate {
			if in.Chain, err = c.readPEM(certificate.name); err != nil {
				return err
			}
		}
		if key.name == "-" || key.name != "" && !in.Certificate {
			return app.Errorf(app.CodeInvalidInput, "give the certificate's file; on standard input, --certificate - takes the certificate and its key one after the other", "--key takes a file, beside --certificate")
		}
		if key.name != "" {
			if in.Key, err = c.readPEM(key.name); err != nil {
				return err
			}
		}
		d, err := operation.DomainAdd.Do(cmd.Context(), c.services, c.caller, in)
		if err != nil {
			return err
		}
		return printDomain(cmd.OutOrStdout(), d)
	})
	add.Long = "Give an app a domain of your own. Its DNS must lead to this server: if it does not, the record that is missing is printed, and nothing changes.\n" +
		"Where the server obtains certificates, it has one for the domain when the command ends.\n\n" +
		"A domain is one app's. It goes with the app, whichever release is live, and is removed with it. The same command again changes its certificate."
	add.Flags().BoolVar(&in.NoCheck, "no-check", false, "wherever the DNS leads now, and without waiting for a certificate: for a domain that is moving here, or is behind a proxy")
	add.Flags().Var(certificate, "certificate", "a certificate with its chain, in PEM, to use for the domain; - for standard input, which has the key as well")
	add.Flags().Var(key, "key", "its key, in PEM")
	return add
}

// readPEM reads standard input, or, for root on the machine, a file.
func (c *session) readPEM(name string) ([]byte, error) {
	if name != "-" && !c.caller.Local {
		return nil, app.Errorf(app.CodeInvalidInput, "send both on standard input: cat certificate.pem key.pem | ssh … domains add APP NAME --certificate -", "over SSH there is no file to read")
	}
	if name != "-" {
		return readLocal(name, "name a file in PEM")
	}
	b, err := io.ReadAll(io.LimitReader(c.in, operation.MaxCertificate+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return b, nil
}

func (c *session) checkDomain() *cobra.Command {
	return c.declare(operation.DomainCheck.Declaration, "", func(cmd *cobra.Command, args []string) error {
		d, err := operation.DomainCheck.Do(cmd.Context(), c.services, c.caller, operation.OneDomain{OfApp: operation.OfApp{App: args[0]}, Name: args[1]})
		if err != nil {
			return err
		}
		return printDomain(cmd.OutOrStdout(), d)
	})
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

func (c *session) ca() *cobra.Command {
	return c.declare(operation.CA.Declaration, "", func(cmd *cobra.Command, _ []string) error {
		root, err := operation.CA.Do(cmd.Context(), c.services, c.caller, operation.OfServer{})
		if err == nil {
			_, err = io.WriteString(cmd.OutOrStdout(), root)
		}
		return err
	})
}

func printDomain(out io.Writer, d domain.Domain) error {
	_, err := fmt.Fprintf(out, "%s leads to %s.\n", d.Name, d.App)
	if c := d.Certificate; err == nil && c.State != domain.CertificateNone {
		_, err = fmt.Fprintf(out, "Certificate: %s.\n", certificateWords(c))
	}
	return err
}

// certificateWords say how it stands with a certificate.
func certificateWords(c domain.Certificate) string {
	text := map[string]string{domain.CertificateNone: "none", domain.CertificateObtaining: "is being obtained", domain.CertificateFailed: "none yet"}[c.State]
	if c.Expires != nil {
		text = "until " + c.Expires.UTC().Format(time.DateOnly) + ", of " + c.Issuer
		if c.State == domain.CertificateExpired {
			text = "expired " + c.Expires.UTC().Format(time.DateOnly) + ", of " + c.Issuer
		}
	}
	if c.File {
		text += ", given as a file"
	}
	if c.Error != "" {
		text += "; not obtained: " + app.Line(c.Error, 200)
		if c.Next != nil {
			text += "; next try " + c.Next.UTC().Format(time.DateTime)
		}
	}
	return text
}

func printDomains(out io.Writer, list []domain.Domain) error {
	w := table(out, "DOMAIN", "ADDED (UTC)", "BY", "CERTIFICATE")
	for _, d := range list {
		row(w, d.Name, d.Added.UTC().Format(time.DateTime), d.By, certificateWords(d.Certificate))
	}
	return w.Flush()
}
