package operation

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
	"golang.org/x/crypto/ssh"
)

// maxKeySize is more than any public key takes.
const maxKeySize = 64 << 10

var keyName = pattern.New(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

// Key is a registered key.
type Key struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Type        string    `json:"type"` // "ssh-ed25519"
	Admin       bool      `json:"admin"`
	Apps        []string  `json:"apps,omitempty"` // where not empty, the only apps that it may read and push
	Added       time.Time `json:"added"`
}

// Keys lists the registered keys.
var Keys = Operation[OfServer, []Key]{
	Declaration{Name: "keys list", Does: "List the keys", Verb: app.VerbManage, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfServer) ([]Key, error) {
		all, err := c.Store.Keys(ctx)
		if err != nil {
			return nil, err
		}
		list := []Key{}
		for _, k := range all {
			list = append(list, describe(k))
		}
		return list, nil
	},
}

// NewKey is a key to register.
type NewKey struct {
	OfServer
	Name   string
	Public io.Reader // one line of authorized_keys form without options
	Admin  bool
	Apps   []string
}

// AddKey registers a public key.
var AddKey = Operation[NewKey, Key]{
	Declaration{Name: "keys add", Args: "NAME", Does: "Register the public key on standard input", Verb: app.VerbManage, Needs: NeedsStore, Stdin: true},
	func(ctx context.Context, c call, in NewKey) (Key, error) {
		key, err := parseKey(in.Name, in.Public)
		if err != nil {
			return Key{}, err
		}
		if in.Admin && len(in.Apps) > 0 {
			return Key{}, app.Errorf(app.CodeInvalidInput, "leave one of them out", "--admin and --app exclude one another: an admin may do everything")
		}
		for _, a := range in.Apps {
			name, err := app.ParseName(a)
			if err != nil {
				return Key{}, err
			}
			key.Apps = append(key.Apps, app.Scope{Name: name})
		}
		key.Admin = in.Admin
		return describe(key), c.Store.AddKey(ctx, key)
	},
}

// NamedKey names a key.
type NamedKey struct {
	OfServer
	Name string
}

// RemoveKey forgets a key.
var RemoveKey = Operation[NamedKey, struct{}]{
	Declaration{Name: "keys remove", Args: "NAME", Does: "Forget a key", Verb: app.VerbManage, Needs: NeedsStore},
	func(ctx context.Context, c call, in NamedKey) (struct{}, error) {
		return struct{}{}, c.Store.RemoveKey(ctx, in.Name)
	},
}

func describe(k app.Key) Key {
	kind, _, _ := strings.Cut(k.Public, " ")
	d := Key{Name: k.Name, Fingerprint: k.Fingerprint, Type: kind, Admin: k.Admin, Added: k.Added}
	for _, s := range k.Apps {
		d.Apps = append(d.Apps, s.Name)
	}
	return d
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
