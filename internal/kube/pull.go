package kube

import (
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
)

// PullKind says what kept a node from pulling an image.
type PullKind int

// Kinds of failed pulls.
const (
	PullFailed      PullKind = iota // for a reason that is not known
	PullRefused                     // the registry refuses the node's credentials, or that it has none; a node does not see a Secret yet that was created a moment before its pod
	PullMissing                     // the registry does not have the image
	PullUnreachable                 // the node cannot reach the registry
	PullUntrusted                   // the node does not trust the registry
	PullImpossible                  // the image is not for the node, or its reference is not valid
)

// Lasts reports whether another try cannot change it.
func (k PullKind) Lasts() bool { return k == PullMissing || k == PullUntrusted || k == PullImpossible }

// pullKinds are looked at in this order: "unauthorized" also comes with "not found" of a repository that the node may not see.
var pullKinds = []struct {
	kind PullKind
	says *pattern.Pattern
}{
	{PullRefused, pattern.New(`unauthorized|authentication required|authorization failed|forbidden|denied|no basic auth`)},
	{PullMissing, pattern.New(`manifest unknown|name unknown|not found`)},
	{PullUnreachable, pattern.New(`no such host|connection refused|timeout|timed out|no route to host|network is unreachable|deadline exceeded|server misbehaving|connection reset`)},
	{PullUntrusted, pattern.New(`x509|tls:|http: server gave http response`)},
	{PullImpossible, pattern.New(`invalid reference|no match for platform`)},
}

// address is what an image, a request or a registry is named by. Its numbers and words are not about what failed: a port may be 40125, and an app may be called denied.
var address = pattern.New(`\S*(?:/|sha256:|\d:\d)\S*`)

// ExplainPull reads what a node says of an image that it cannot pull, the message of a container that waits: the kind, and the part that says
// why, in one line. That part is "" where the node only says that it waits before the next try.
func ExplainPull(message string) (PullKind, string) {
	message = strings.Join(strings.Fields(message), " ")
	if strings.HasPrefix(message, "Back-off pulling image") {
		_, message, _ = strings.Cut(message, ": ErrImagePull: ")
	}
	words := strings.ToLower(address.ReplaceAllString(message, " "))
	for _, k := range pullKinds {
		if k.says.MatchString(words) {
			return k.kind, LastCause(message)
		}
	}
	return PullFailed, LastCause(message)
}

// pulling finds the end of what containerd says: what went wrong comes last.
var pulling = pattern.New(`(?s)^.*(?:failed to (?:resolve reference|do request|pull and unpack image|copy|extract layer|initialize analyzer|ensure registry [a-z/]+ access to \S+)|validating registry [a-z]+ access|rpc error)[^:]*: `)

// LastCause is the end of a chain of errors about an image, which says why: what comes after the quoted address of a request, or after the
// last thing that is said to have failed.
func LastCause(message string) string {
	if i := strings.LastIndex(message, `": `); i >= 0 && i+3 < len(message) {
		return message[i+3:]
	}
	return pulling.ReplaceAllString(message, "")
}
