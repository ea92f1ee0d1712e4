package kube

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// Attach sends what it reads to the standard input of a container, which has to be running, until it has read all of it; the container
// sees the end of its input then. RBAC: get and create on pods/attach.
func (c *Client) Attach(ctx context.Context, namespace, pod, container string, stdin io.Reader) error {
	u := c.REST.Post().AbsPath("/api/v1/namespaces", namespace, "pods", pod, "attach").URL()
	u.RawQuery = url.Values{"container": {container}, "stdin": {"true"}}.Encode()
	config := rest.CopyConfig(c.Config)
	socket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, u.String())
	if err != nil {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, u)
	if err != nil {
		return err
	}
	e, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	return e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin})
}
