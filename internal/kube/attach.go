package kube

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// Attach sends what it reads to the standard input of a container, which has to be running, until it has read all of it; the container
// sees the end of its input then. RBAC: get and create on pods/attach.
func (c *Client) Attach(ctx context.Context, namespace, pod, container string, stdin io.Reader) error {
	return c.Stream(ctx, namespace, pod, container, remotecommand.StreamOptions{Stdin: stdin})
}

// Stream connects to a container, which has to be running, until its process has ended. RBAC: as Attach.
func (c *Client) Stream(ctx context.Context, namespace, pod, container string, o remotecommand.StreamOptions) error {
	u := c.REST.Post().AbsPath("/api/v1/namespaces", namespace, "pods", pod, "attach").URL()
	q := url.Values{"container": {container}}
	for name, is := range map[string]bool{"stdin": o.Stdin != nil, "stdout": o.Stdout != nil, "stderr": o.Stderr != nil && !o.Tty, "tty": o.Tty} {
		if is {
			q.Set(name, strconv.FormatBool(is))
		}
	}
	u.RawQuery = q.Encode()
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
	return e.StreamWithContext(ctx, o)
}
