package command

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
)

// maxKeySize is more than any public key takes.
const maxKeySize = 64 << 10

var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

func (c *session) keys() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "Register, list and remove SSH keys"}
	var admin bool
	var apps []string
	add := &cobra.Command{
		Use: "add NAME [--admin | --app APP …] < KEY.pub", Short: "Register the public key on standard input", Args: cobra.ExactArgs(1),
		Annotations: map[string]string{readsInput: "yes"},
		Long: "Register the public key on standard input.\n\nAn admin may do everything. A key with --app may read and push those apps. " +
			"Any other key may create apps, and do everything with those it created.",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := parseKey(args[0], c.in)
			if err != nil {
				return err
			}
			if admin && len(apps) > 0 {
				return app.Errorf(app.CodeInvalidInput, "leave one of them out", "--admin and --app exclude one another: an admin may do everything")
			}
			for _, a := range apps {
				name, err := app.ParseName(a)
				if err != nil {
					return err
				}
				key.Apps = append(key.Apps, app.Scope{Name: name})
			}
			key.Admin = admin
			if err := c.Store.AddKey(cmd.Context(), key); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Added key %s (%s).\n", key.Name, key.Fingerprint)
			return nil
		},
	}
	add.Flags().BoolVar(&admin, "admin", false, "may do everything")
	add.Flags().StringArrayVar(&apps, "app", nil, "may read and push this app, and nothing else (repeatable)")
	keys.AddCommand(add, &cobra.Command{
		Use: "list", Short: "List the keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := c.Store.Keys(cmd.Context())
			if err != nil {
				return err
			}
			w := table(cmd.OutOrStdout(), "NAME", "FINGERPRINT", "TYPE", "RIGHTS")
			for _, k := range all {
				rights := "its own apps"
				if k.Admin {
					rights = "admin"
				} else if len(k.Apps) > 0 {
					rights = scopes(k.Apps)
				}
				kind, _, _ := strings.Cut(k.Public, " ")
				row(w, k.Name, k.Fingerprint, kind, rights)
			}
			return w.Flush()
		},
	}, &cobra.Command{
		Use: "remove NAME", Short: "Forget a key", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Store.RemoveKey(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Removed key %s.\n", args[0])
			return nil
		},
	})
	return keys
}

// parseKey reads one line of authorized_keys form without options.
func parseKey(name string, in io.Reader) (app.Key, error) {
	if !keyName.MatchString(name) {
		return app.Key{}, app.Errorf(app.CodeInvalidName, "use letters, digits and . _ @ - (at most 63)", "%q cannot be the name of a key", app.Plain(name))
	}
	const how = "give the .pub file of an SSH key: gitd keys add NAME < ~/.ssh/id_ed25519.pub"
	b, err := io.ReadAll(io.LimitReader(in, maxKeySize))
	if err != nil {
		return app.Key{}, err
	}
	if bytes.Contains(b, []byte("PRIVATE KEY")) {
		return app.Key{}, app.Errorf(app.CodeInvalidInput, how, "this is a private key: keep it to yourself, and give the public one")
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return app.Key{}, app.Errorf(app.CodeInvalidInput, how, "no key on standard input")
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey(b)
	switch {
	case err != nil:
		return app.Key{}, app.Errorf(app.CodeInvalidInput, how, "standard input is not an SSH public key: %w", err)
	case len(options) > 0:
		return app.Key{}, app.Errorf(app.CodeInvalidInput, how, "a key with options (%s) is not supported", app.Plain(options[0]))
	case len(bytes.TrimSpace(rest)) > 0:
		return app.Key{}, app.Errorf(app.CodeInvalidInput, how, "more than one key on standard input: add them one by one")
	}
	if err := strong(key); err != nil {
		return app.Key{}, err
	}
	return app.Key{
		Name: name, Public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), Fingerprint: ssh.FingerprintSHA256(key),
	}, nil
}

// strong refuses keys that are too weak to be an identity.
func strong(key ssh.PublicKey) error {
	const next = "make a new one: ssh-keygen -t ed25519"
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		if bits := rsaBits(key); bits < 2048 {
			return app.Errorf(app.CodeInvalidInput, next, "an RSA key of %d bits is too weak: at least 2048", bits)
		}
		return nil
	}
	return app.Errorf(app.CodeInvalidInput, next, "keys of type %s are not accepted", app.Plain(key.Type()))
}

// scopes lists the apps that a key is bound to.
func scopes(list []app.Scope) string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}
