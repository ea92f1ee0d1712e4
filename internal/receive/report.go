package receive

import (
	"context"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
	"github.com/gitd-io/gitd/internal/sshd"
)

// refResult is what the second form of a report adds to "ok": how a ref moved, where the client cannot know.
type refResult struct {
	name   string // the ref that came to be in place of the one that was asked for; "" for that one
	old    string // what the ref held in truth; "" where the client knows
	forced bool   // the new commit does not descend from it
}

// compare finds out whether the ref moves from where the client thinks. It does not when another push went live after this one
// was told what is: the newest push wins, whatever it began from.
func (p *push) compare(ctx context.Context, q *repository.Quarantine, c *refCommand) *refResult {
	ref, commit, err := p.repository.Live()
	if c.branch != "" {
		var branches map[string]string
		branches, err = p.repository.Branches()
		ref, commit = c.name, branches[c.branch]
	}
	if err != nil || ref != c.name || commit == "" || commit == c.old || commit == c.new {
		return nil
	}
	return &refResult{old: commit, forced: !q.Descends(context.WithoutCancel(ctx), c.new, commit)}
}

// report sends the result of every command and ends the conversation.
func (p *push) report(unpack, result string) sshd.Outcome {
	status := 0
	b := pktline.Append(nil, "unpack "+unpack+"\n")
	for _, c := range p.request.commands {
		if c.reason != "" {
			b = pktline.Append(b, "ng "+c.name+" "+c.reason+"\n")
			status = 1
			continue
		}
		b = pktline.Append(b, "ok "+c.name+"\n")
		if c.result != nil && p.request.has(reportV2) {
			if c.result.name != "" {
				b = pktline.Append(b, "option refname "+c.result.name+"\n")
				b = pktline.Append(b, "option old-oid "+repository.ZeroID+"\n")
				b = pktline.Append(b, "option new-oid "+c.new+"\n")
			}
			if c.result.old != "" {
				b = pktline.Append(b, "option old-oid "+c.result.old+"\n")
			}
			if c.result.forced {
				b = pktline.Append(b, "option forced-update\n")
			}
		}
	}
	b = append(b, "0000"...)
	if p.request.has(capability.ReportStatus) || p.request.has(reportV2) {
		status = 0 // the report says it all, and git looks no further
		if _, err := p.band.send(bandData, b); err != nil && !strings.HasSuffix(result, sshd.ErrGone.Error()) {
			result += "; " + sshd.ErrGone.Error()
		}
	}
	p.band.close()
	return sshd.Outcome{Result: result, Status: status, Drain: !p.received, Trace: p.span.Trace()}
}
