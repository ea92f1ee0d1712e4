package kube

import "testing"

// TestExplainPull: what nodes say, with containerd 1.7 and 2.0, and Knative of its own look at the registry. Ports, digests and names of apps have numbers and words of causes.
func TestExplainPull(t *testing.T) {
	const at = `Back-off pulling image "10.0.0.9:40125/a@sha256:4010": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "10.0.0.9:40125/a@sha256:4010": failed to resolve reference "10.0.0.9:40125/a@sha256:4010": `
	for _, c := range []struct {
		message string
		kind    PullKind
		cause   string
	}{
		{at + `10.0.0.9:40125/a@sha256:4010: not found`, PullMissing, "10.0.0.9:40125/a@sha256:4010: not found"},
		{`failed to resolve reference "r/denied@sha256:0": r/denied@sha256:0: not found`, PullMissing, "r/denied@sha256:0: not found"},
		{`failed to resolve reference "r/unauthorized:v1": failed to do request: Head "http://r/v2/unauthorized/manifests/v1": dial tcp 10.0.0.1:5000: connect: connection refused`,
			PullUnreachable, "dial tcp 10.0.0.1:5000: connect: connection refused"},
		{`failed to resolve reference "r/a:v1": failed to do request: Head "https://r:4031/v2/a/manifests/v1": dial tcp 10.0.0.1:4031: i/o timeout`, PullUnreachable, "dial tcp 10.0.0.1:4031: i/o timeout"},
		{`failed to resolve reference "r/a:v1": failed to do request: Head "https://r/v2/a/manifests/v1": dial tcp: lookup r on 10.0.0.2:53: no such host`, PullUnreachable, "dial tcp: lookup r on 10.0.0.2:53: no such host"},
		{at + `pulling from host 10.0.0.9:40125 failed with status code [manifests sha256:4010]: 401 Unauthorized`, PullRefused,
			"pulling from host 10.0.0.9:40125 failed with status code [manifests sha256:4010]: 401 Unauthorized"},
		{`failed to resolve reference "r/a:v1": unexpected status from HEAD request to https://r/v2/a/manifests/v1: 403 Forbidden`, PullRefused, "unexpected status from HEAD request to https://r/v2/a/manifests/v1: 403 Forbidden"},
		{`pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`, PullRefused,
			"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"},
		{`failed to do request: Head "https://r/v2/a/manifests/v1": tls: failed to verify certificate: x509: certificate signed by unknown authority`, PullUntrusted,
			"tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{`failed to do request: Head "https://r/v2/a/manifests/v1": http: server gave HTTP response to HTTPS client`, PullUntrusted, "http: server gave HTTP response to HTTPS client"},
		{`failed to pull and unpack image "r/a:v1": no match for platform in manifest: not found`, PullMissing, "no match for platform in manifest: not found"},
		{`Failed to apply default image tag "r/A": couldn't parse image name "r/A": invalid reference format: repository name must be lowercase`, PullImpossible, "invalid reference format: repository name must be lowercase"},
		{`Unable to fetch image "r/a": failed to resolve image to digest: GET https://r/v2/a/manifests/v1: MANIFEST_UNKNOWN: manifest unknown`, PullMissing,
			"failed to resolve image to digest: GET https://r/v2/a/manifests/v1: MANIFEST_UNKNOWN: manifest unknown"},
		{`Back-off pulling image "r/a"`, PullFailed, ""},
		{"no space left\non device", PullFailed, "no space left on device"},
	} {
		if kind, cause := ExplainPull(c.message); kind != c.kind || cause != c.cause {
			t.Errorf("%s\ngot  %d, %s\nwant %d, %s", c.message, kind, cause, c.kind, c.cause)
		}
	}
	if PullRefused.Lasts() || PullUnreachable.Lasts() || PullFailed.Lasts() || !PullMissing.Lasts() {
		t.Error("a node without the Secret would not try again")
	}
}
