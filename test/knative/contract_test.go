package knative_test

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/contract"
)

// TestContract runs the suite that the platform on one machine passes as well.
func TestContract(t *testing.T) {
	c := client(t)
	namespace := newNamespace(t, c, "contract")
	contract.Run(t, func(t *testing.T, img v1.Image) *contract.Env {
		return &contract.Env{Platform: open(t, options(t, c, namespace)), Address: ingress, Domain: namespace + "." + domain, Image: push(t, "testapp", img),
			Reopen: func() deploy.Platform { return open(t, options(t, client(t), namespace)) }}
	})
}
