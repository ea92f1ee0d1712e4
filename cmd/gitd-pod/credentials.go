package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/disk"
)

// gitdEnv has gitd's own proxy variables. A proxy may have a password, so they go with the credentials.
var gitdEnv = filepath.Join(wire.Credentials, "env")

// credentials returns what gitd handed over in the form of CNB_REGISTRY_AUTH. The lifecycle could read the file itself; but the exporter
// reads what the app's code left behind, which may well be links and patterns that lead to a file, and so there is none when it runs.
func credentials(forget bool) (string, error) {
	if forget {
		if err := disk.RemoveAll(gitdEnv); err != nil {
			return "", err
		}
	}
	file := filepath.Join(wire.Credentials, filepath.Base(wire.CredentialsEntry))
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "{}", nil
	}
	if err != nil {
		return "", err
	}
	if forget {
		if err := os.Remove(file); err != nil {
			return "", err
		}
	}
	return registryAuth(b)
}

// registryAuth turns a docker config.json into a map of registries to Authorization headers, as the lifecycle takes it.
func registryAuth(config []byte) (string, error) {
	var c struct {
		Auths map[string]struct {
			Auth, Username, Password, IdentityToken, RegistryToken string
		} `json:"auths"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return "", errors.New("the registry's credentials cannot be read")
	}
	headers := map[string]string{}
	for host, a := range c.Auths {
		switch {
		case a.IdentityToken != "":
			headers[host] = "X-Identity " + a.IdentityToken
		case a.RegistryToken != "":
			headers[host] = "Bearer " + a.RegistryToken
		case a.Auth != "":
			headers[host] = "Basic " + a.Auth
		case a.Username != "":
			headers[host] = "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password))
		}
	}
	b, err := json.Marshal(headers)
	return string(b), err
}
