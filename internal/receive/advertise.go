package receive

import (
	"bytes"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// reportV2 is the second form of a report (gitprotocol-capabilities). A client that knows it asks for that one alone.
const reportV2 capability.Capability = "report-status-v2"

// understood are the capabilities that a client may ask for.
var understood = []capability.Capability{capability.ReportStatus, reportV2, capability.DeleteRefs, capability.Sideband64k, capability.Quiet, capability.Atomic,
	capability.OFSDelta, capability.PushOptions}

// What capabilities with a value say.
const (
	objectFormat = "sha1"
	agent        = "gitd/1"
)

// advertise tells the client what is here, by ref, and what we understand.
func advertise(refs map[string]string, shallow []string, protocol, nonce string) ([]byte, error) {
	a := packp.NewAdvRefs()
	if protocol == "version=1" {
		a.Prefix = [][]byte{[]byte("version 1")}
	}
	for _, c := range understood {
		if err := a.Capabilities.Add(c); err != nil {
			return nil, err
		}
	}
	for _, c := range []struct {
		name  capability.Capability
		value string
	}{{capability.ObjectFormat, objectFormat}, {capability.Agent, agent}, {capability.PushCert, nonce}} {
		if err := a.Capabilities.Add(c.name, c.value); err != nil {
			return nil, err
		}
	}
	for ref, commit := range refs {
		a.References[ref] = plumbing.NewHash(commit)
	}
	for _, id := range shallow {
		a.Shallows = append(a.Shallows, plumbing.NewHash(id))
	}
	var b bytes.Buffer
	err := a.Encode(&b)
	return b.Bytes(), err
}
