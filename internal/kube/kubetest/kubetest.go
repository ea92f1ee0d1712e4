// Package kubetest has a cluster's client for tests whose API server is their own.
package kubetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/kube"
)

// Client is the client of an API server that the handler is. It ends with the test.
func Client(t testing.TB, api http.Handler) *kube.Client {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {}}], contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}\n", server.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Open(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}
