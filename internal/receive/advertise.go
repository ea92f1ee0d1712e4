package receive

import (
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

// advertise tells the client what is here and what we understand.
func advertise(ref, commit string, shallow []string, protocol, nonce string) []byte {
	capabilities := "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1 agent=gitd/1 push-cert=" + nonce
	var b []byte
	if protocol == "version=1" {
		b = pktline.Append(b, "version 1\n")
	}
	if ref == "" {
		b = pktline.Append(b, repository.ZeroID+" capabilities^{}\x00"+capabilities+"\n")
	} else {
		b = pktline.Append(b, commit+" "+ref+"\x00"+capabilities+"\n")
	}
	for _, id := range shallow {
		b = pktline.Append(b, "shallow "+id+"\n")
	}
	return append(b, "0000"...)
}
