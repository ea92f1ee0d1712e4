package receive

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

// Bounds on what a client may send before its pack.
const (
	maxCommands    = 1000
	maxShallow     = 10000
	maxPushOptions = 64
	maxHeadBytes   = 4 << 20 // all of it together
)

// refCommand asks for one ref to change. Reason is why it is refused; "" is yes.
type refCommand struct {
	old, new, name string
	reason         string
	result         *refResult // where it came out otherwise than the client thinks
	annotated      bool       // a tag object beside the commit that is deployed
	branch         string     // of the preview that it makes or, with removes, removes; "" for what goes live
	removes        bool       // it deletes the branch of a preview, and the preview
}

func (c *refCommand) deletes() bool { return c.new == repository.ZeroID }

// pushRequest is what a client says before its pack.
type pushRequest struct {
	commands     []*refCommand
	shallow      []string
	options      []string
	capabilities map[capability.Capability]string
	certificate  *pushCertificate // of a signed push; nil for any other
}

func (r *pushRequest) has(c capability.Capability) bool {
	_, ok := r.capabilities[c]
	return ok
}

// headReader reads what a client says before its pack, and no more than maxHeadBytes of it.
type headReader struct {
	packets *pktline.Reader
	bytes   int
}

// line returns the next line, or an error of the packets. What there may be too many of is in the error.
func (h *headReader) line(what string) (string, error) {
	line, err := h.packets.Line()
	if err != nil {
		return "", err
	}
	if h.bytes += len(line) + 1; h.bytes > maxHeadBytes {
		return "", fmt.Errorf("%w: too many %s", pktline.ErrProtocol, what)
	}
	return string(line), nil
}

// readPushRequest reads commands and push options. It returns nil and no error when the client has nothing to push.
func readPushRequest(p *pktline.Reader) (*pushRequest, error) {
	r, h := &pushRequest{capabilities: map[capability.Capability]string{}}, &headReader{packets: p}
	for {
		text, err := h.line("commands")
		if err == pktline.ErrFlush {
			break
		}
		if err == io.EOF && h.bytes == 0 {
			return nil, nil
		}
		if err == io.EOF || err == pktline.ErrDelim {
			err = fmt.Errorf("%w: the commands end early", pktline.ErrProtocol)
		}
		if err == nil {
			err = r.command(p, text)
		}
		if err != nil {
			return nil, err
		}
	}
	if format, ok := r.capabilities[capability.ObjectFormat]; ok && format != objectFormat {
		return nil, fmt.Errorf("%w: object format %q", pktline.ErrProtocol, app.Clip(format, 20))
	}
	if len(r.commands) == 0 {
		return nil, nil
	}
	if !r.has(capability.PushOptions) {
		return r, nil
	}
	return r, r.readOptions(h)
}

// command reads one line of the commands; a certificate's goes on in p.
func (r *pushRequest) command(p *pktline.Reader, text string) (err error) {
	if id, ok := strings.CutPrefix(text, "shallow "); ok {
		if !repository.IsID(id) || len(r.shallow) >= maxShallow {
			return fmt.Errorf("%w: bad shallow line", pktline.ErrProtocol)
		}
		r.shallow = append(r.shallow, id)
		return nil
	}
	if r.certificate != nil {
		return fmt.Errorf("%w: more commands than were signed", pktline.ErrProtocol)
	}
	if len(r.commands) == 0 {
		head, tail, _ := strings.Cut(text, "\x00")
		text = head
		for c := range strings.FieldsSeq(tail) {
			k, v, _ := strings.Cut(c, "=")
			r.capabilities[capability.Capability(k)] = v
		}
	}
	if text != string(capability.PushCert) || len(r.commands) > 0 {
		return r.add(text)
	}
	if r.certificate, err = readCertificate(p); err != nil {
		return err
	}
	for _, command := range r.certificate.commands {
		if err := r.add(command); err != nil {
			return err
		}
	}
	return nil
}

// readOptions reads the push options.
func (r *pushRequest) readOptions(h *headReader) error {
	for {
		text, err := h.line("push options")
		if err == pktline.ErrFlush {
			return nil
		}
		if err == nil && len(r.options) >= maxPushOptions {
			err = fmt.Errorf("%w: too many push options", pktline.ErrProtocol)
		}
		if err != nil {
			return err
		}
		r.options = append(r.options, text)
	}
}

// add reads one command.
func (r *pushRequest) add(text string) error {
	f := strings.SplitN(strings.TrimSuffix(text, "\n"), " ", 3)
	if len(f) != 3 || !repository.IsID(f[0]) || !repository.IsID(f[1]) || f[2] == "" || strings.ContainsAny(f[2], "\x00\n") {
		return fmt.Errorf("%w: bad command %q", pktline.ErrProtocol, app.Clip(text, 100))
	}
	twice := slices.ContainsFunc(r.commands, func(c *refCommand) bool { return c.name == f[2] })
	if twice || len(r.commands) >= maxCommands {
		return fmt.Errorf("%w: too many commands, or two for one ref", pktline.ErrProtocol)
	}
	r.commands = append(r.commands, &refCommand{old: f[0], new: f[1], name: f[2]})
	return nil
}
