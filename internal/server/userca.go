package server

import (
	"bytes"
	"os"

	"github.com/gitd-io/gitd/internal/app"
	gossh "golang.org/x/crypto/ssh"
)

// readUserCAs reads the public keys in a file of authorized_keys form; "" means none.
func readUserCAs(file string) ([]gossh.PublicKey, error) {
	if file == "" {
		return nil, nil
	}
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, "name a file with public keys, one a line", "--user-ca: %s cannot be read: %w", file, err)
	}
	var keys []gossh.PublicKey
	for len(bytes.TrimSpace(rest)) > 0 {
		key, _, _, left, err := gossh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, app.Errorf(app.CodeInvalidInput, "each line is the .pub file of a key", "--user-ca: key %d of %s cannot be read: %w", len(keys)+1, file, err)
		}
		keys, rest = append(keys, key), left
	}
	if len(keys) == 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "name a file with public keys, one a line", "--user-ca: %s has no key in it", file)
	}
	return keys, nil
}
