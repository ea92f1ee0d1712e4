package registry

import (
	"encoding/json"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// PushConfig is a docker config.json with which a Pod may push to these repositories, and pull our own images; host is what the Pod calls
// the registry, with or without a path behind it. It is good for as long as the process lives.
func (r *Registry) PushConfig(host string, repositories ...string) ([]byte, error) {
	return dockerConfig(host, r.Credentials(repositories...))
}

// PullConfig is a docker config.json with which nodes may pull what PullCredentials says; host is what they call the registry, with or
// without a path behind it. It is good for as long as the registry's directory is there.
func (r *Registry) PullConfig(host, repository string) ([]byte, error) {
	return dockerConfig(host, r.PullCredentials(repository))
}

// dockerConfig writes credentials in the form that docker login leaves; nil for none.
func dockerConfig(host string, a authn.Authenticator) ([]byte, error) {
	c, err := a.Authorization()
	if err != nil {
		return nil, err
	}
	if *c == (authn.AuthConfig{}) {
		return nil, nil
	}
	host, _, _ = strings.Cut(host, "/")
	if host == "docker.io" || host == "index.docker.io" {
		host = authn.DefaultAuthKey
	}
	return json.Marshal(map[string]any{"auths": map[string]authn.AuthConfig{host: *c}})
}
